"""Any bytes at any place of cephx are a value, a refusal or a PeerError; also where they are sealed with the right key.

The first byte of an input chooses the place.
"""

from __future__ import annotations

from collections.abc import Callable

from cove.wire.auth import AuthDone, AuthMethod, AuthMore, AuthRefused, ConnectionMode
from cove.wire.cephx import CephxClient, CephxServer, CephxService, CryptoKey, Entity, KeyType, MonitorAuth
from cove.wire.cephx.keys import Usage
from cove.wire.cephx.structures import STRUCTURES, ResponseHeader, ServerChallenge, TicketBlob
from cove.wire.cephx.tickets import Authorizer
from cove.wire.encoding import Decoder, Encoder
from cove.wire.errors import PeerError, UsageError
from cove.wire.types import EntityType

NOW_NS = 1_700_000_000 * 10**9
CRC, SECURE = ConnectionMode.CRC, ConnectionMode.SECURE


def _random_bytes(length: int) -> bytes:
    return b"\x5a" * length


KEY = CryptoKey(KeyType.AES256K, _random_bytes(32))
SERVER = CephxServer(lambda: NOW_NS, _random_bytes)
SERVER.put_entity(Entity("client.a", KEY, {"mon": "allow *", "osd": "allow *"}))


def _log_in() -> tuple[CephxClient, MonitorAuth]:
    client, monitor = CephxClient("client.a", KEY, _random_bytes), MonitorAuth(SERVER)
    attempt = client.mon_auth(NOW_NS)
    step = monitor.request(AuthMethod.CEPHX, CRC, attempt.request())
    assert isinstance(step, AuthMore)
    done = monitor.more(attempt.more(step.payload))
    assert isinstance(done, AuthDone)
    attempt.done(done.global_id, CRC, done.payload)
    client.adopt(attempt)
    return client, monitor


CLIENT, SESSION = _log_in()


def structures(data: bytes) -> None:
    """What decodes, encodes to what decodes to the same."""
    for cls in STRUCTURES:
        try:
            value = cls.from_bytes(data)
        except PeerError:
            continue
        try:
            again = value.to_bytes()
        except UsageError:
            continue  # a time of more seconds than fit
        assert cls.from_bytes(again) == value


def monitor(data: bytes) -> None:
    """Both rounds of a login, and the open session."""
    step = MonitorAuth(SERVER).request(AuthMethod.CEPHX, CRC, data)
    assert isinstance(step, (AuthMore, AuthRefused))
    end = MonitorAuth(SERVER)
    end.request(AuthMethod.CEPHX, SECURE, CLIENT.mon_auth(NOW_NS).request())
    assert isinstance(end.more(data), AuthRefused)
    assert SESSION.handle_mauth(data).result <= 0


def mon_login(data: bytes) -> None:
    """The monitor's answers: as they come, and inside the envelopes that only the right key opens."""
    for mode in (CRC, SECURE):
        attempt = CephxClient("client.a", KEY, _random_bytes).mon_auth(NOW_NS)
        attempt.request()
        attempt.more(data[:9] if len(data) > 9 and any(data[1:9]) else ServerChallenge(1).to_bytes())
        attempt.done(7, mode, _as_ticket(data) if len(data) % 2 else data)


def _as_ticket(data: bytes) -> bytes:
    encoder = Encoder()
    ResponseHeader(0x0100).encode(encoder)
    encoder.raw(b"\1\1\0\0\0\x20\0\0\0\1")
    encoder.blob(KEY.seal(data, Usage.SERVICE_TICKET, _random_bytes))
    encoder.raw(data)
    return encoder.bytes()


def renewal(data: bytes) -> None:
    """MAuthReply."""
    client, _ = _log_in()
    client.handle_reply(data, NOW_NS)


def service(data: bytes) -> None:
    """An authorizer as it comes, and one whose ticket or content is sealed correctly."""
    secrets = SERVER.rotating_secrets(EntityType.OSD)
    end = CephxService(EntityType.OSD, lambda: secrets, _random_bytes).accept()
    assert isinstance(end.request(AuthMethod.CEPHX, CRC, data), (AuthMore, AuthRefused))
    number, secret = max(secrets.secrets.items())
    blob = TicketBlob(number, secret.key.seal(data, Usage.TICKET_INFO, _random_bytes))
    shown = Authorizer(7, EntityType.OSD, blob, data)
    assert isinstance(end.request(AuthMethod.CEPHX, CRC, shown.to_bytes()), (AuthMore, AuthRefused))
    ticket = CLIENT.tickets[EntityType.OSD]
    sealed = ticket.session_key.seal(data, Usage.AUTHORIZE, _random_bytes)
    shown = Authorizer(CLIENT.global_id, EntityType.OSD, ticket.blob, sealed)
    step = end.request(AuthMethod.CEPHX, CRC, shown.to_bytes())
    if isinstance(step, AuthMore):
        assert isinstance(end.more(shown.to_bytes()), (AuthDone, AuthRefused))


def service_login(data: bytes) -> None:
    """An OSD's answers."""
    attempt = CLIENT.authorizer(EntityType.OSD, NOW_NS)
    attempt.request()
    key = CLIENT.tickets[EntityType.OSD].session_key
    attempt.more(key.seal(data, Usage.AUTHORIZE_CHALLENGE, _random_bytes))
    encoder = Encoder()
    encoder.blob(key.seal(data, Usage.AUTHORIZE_REPLY, _random_bytes))
    attempt.done(CLIENT.global_id, SECURE, encoder.bytes())


def keys(data: bytes) -> None:
    """Rotating secrets, and what is merely unsealed."""
    CLIENT.open_rotating_secrets(data)
    KEY.unseal(Decoder(data).blob(), Usage.ROTATING_SECRETS)


TARGETS: tuple[Callable[[bytes], None], ...] = (
    structures,
    monitor,
    mon_login,
    renewal,
    service,
    service_login,
    keys,
)


def one_input(data: bytes) -> None:
    """The first byte chooses where the others go."""
    if data:
        try:
            TARGETS[data[0] % len(TARGETS)](data[1:])
        except PeerError:
            pass


if __name__ == "__main__":
    from tests.fuzz.runner import main

    main(one_input)
