"""Key performance indicators of a workspace, computed from what its runtime pods count. Pure: no clock, no network."""
