"""Steps that the messages of several components end with."""

PULL = "and that the nodes may pull it, for example with spec.imagePullSecrets"
