"""What of the chart is generated: the CRD as a template, the rights, and the entry for Argo CD."""

from __future__ import annotations

import pytest

from sibyl_operator.install.chart import argocd_config_map, chart_files, crd_template, literal, rules_template
from sibyl_operator.rbac import WORKSPACE_GRANTS


@pytest.mark.parametrize(
    ("text", "template"),
    [("no braces", "no braces"), ("${NAME}", "${NAME}"), ("a {{ b }}", 'a {{ "{{" }} b }}')],
)
def test_text_becomes_a_template_that_renders_to_it(text: str, template: str) -> None:
    assert literal(text) == template


def test_the_crd_stands_behind_its_two_values() -> None:
    template = crd_template()
    assert "{{- if .Values.crds.enabled }}\napiVersion: apiextensions.k8s.io/v1\n" in template
    assert "{{- if .Values.crds.keep }}\n  annotations:\n    helm.sh/resource-policy: keep\n" in template


def test_every_right_is_in_the_template_with_its_reason_above_it() -> None:
    template = rules_template()
    for grant in WORKSPACE_GRANTS:
        assert (
            f"# {grant.reason}\n- apiGroups:\n  - {grant.group or repr('')}\n  resources:\n  - {grant.resource}\n"
            in (template)
        )


def test_the_generated_files_are_those_of_the_chart() -> None:
    assert [str(path) for path, _ in chart_files()] == [
        "charts/sibyl-operator/values.yaml",
        "charts/sibyl-operator/values.schema.json",
        "charts/sibyl-operator/templates/crd.yaml",
        "charts/sibyl-operator/templates/_rules.tpl",
    ]


def test_argo_cd_finds_the_health_by_group_and_kind() -> None:
    manifest = argocd_config_map("return {}\n")
    assert manifest["metadata"]["name"] == "argocd-cm"
    assert manifest["data"] == {"resource.customizations.health.sibyl.dev_SibylWorkspace": "return {}\n"}
