"""CRUSH: the map of devices and failure domains, and the rules that choose devices from it.

`map` holds the structures and their encoding, `build` makes maps, `hash` and `ln` are the arithmetic, `choosers` pick
in one bucket, `mapper` and `msr` run rules. `cove.wire.placement` goes from there to the OSDs of a placement group.
"""
