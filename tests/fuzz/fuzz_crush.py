"""Any bytes are a CRUSH map or a PeerError; any map gives mappings or a PeerError, in bounded time."""

from __future__ import annotations

from cove.wire.crush.map import ITEM_NONE, WEIGHT_ONE, CrushMap, RuleType, decode_crush, encode_crush
from cove.wire.crush.mapper import do_rule
from cove.wire.errors import PeerError
from cove.wire.features import CRUSH_MSR, SUPPORTED

WEIGHTS = (WEIGHT_ONE, 0, 0x8000, WEIGHT_ONE, WEIGHT_ONE, 0x100, WEIGHT_ONE, WEIGHT_ONE)
SIZE = 5
WORK_MAX = 1500
RULES_MAX = 4
INPUTS = (0, 7, 0xFFFFFFFF)


def one_input(data: bytes) -> None:
    """The bytes are a map."""
    try:
        crush = decode_crush(data)
    except PeerError:
        return
    assert decode_crush(encode_crush(crush, SUPPORTED | CRUSH_MSR)) == crush
    for number, rule in enumerate(crush.rules[:RULES_MAX]):
        for x in INPUTS:
            try:
                result = do_rule(crush, number, x, SIZE, WEIGHTS, x & 1, work_max=WORK_MAX)
            except PeerError:
                continue
            assert len(result) <= SIZE
            if rule is not None and rule.type in (RuleType.MSR_FIRSTN, RuleType.MSR_INDEP):
                osds = [osd for osd in result if osd != ITEM_NONE]
                assert all(WEIGHTS[osd] for osd in osds)


def seeds() -> list[bytes]:
    """A flat map."""
    return [encode_crush(CrushMap.simple(range(len(WEIGHTS))), SUPPORTED | CRUSH_MSR)]


if __name__ == "__main__":
    from tests.fuzz.runner import main

    main(one_input, seeds())
