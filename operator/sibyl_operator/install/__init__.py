"""The manifests that put the operator into a cluster: its CRD, its rights, its Deployment."""

from sibyl_operator.install.manifests import Installation, installation, installation_text

__all__ = ["Installation", "installation", "installation_text"]
