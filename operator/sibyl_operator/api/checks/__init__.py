"""The checks behind the conditions: small pure functions of what was observed, one module per subject."""
