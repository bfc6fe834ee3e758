"""The revisions, oldest first; each module names its predecessor in `down_revision`."""
