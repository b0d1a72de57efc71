"""The custom resource: its models, its CRD, how it is read, and what its status says. Pure: no I/O, no clock."""
