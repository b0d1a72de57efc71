"""What must hold between the parts of a document, as a list of named pure checks over one context."""

from __future__ import annotations

from sibyl_runtime.workspace.checks.addresses import addresses_can_be_read
from sibyl_runtime.workspace.checks.answers import structured_answers_have_a_model
from sibyl_runtime.workspace.checks.availability import (
    fields_are_available,
    providers_are_available,
    shop_settings_are_available,
    step_settings_are_available,
    techniques_are_available,
)
from sibyl_runtime.workspace.checks.conditions import conditions_can_be_evaluated
from sibyl_runtime.workspace.checks.context import Check, Context, Finding
from sibyl_runtime.workspace.checks.embedding import (
    embedding_settings_have_effect,
    vectors_of_their_own_length_have_effect,
)
from sibyl_runtime.workspace.checks.failures import error_policies_can_work
from sibyl_runtime.workspace.checks.kpis import kpi_names_are_unique, kpis_can_be_measured
from sibyl_runtime.workspace.checks.loading import queries_take_no_parameters
from sibyl_runtime.workspace.checks.orders import reranking_keeps_what_was_found, steps_use_each_other
from sibyl_runtime.workspace.checks.parallel import gathered_names_have_a_meaning, groups_can_run_side_by_side
from sibyl_runtime.workspace.checks.protection import (
    authentication_settings_belong,
    key_metadata_means_keys,
    origins_are_named_for_credentials,
    permissions_mean_tools,
    rate_limits_can_be_kept,
    tokens_can_be_verified,
)
from sibyl_runtime.workspace.checks.providers import (
    default_llm_is_clear,
    named_providers_exist,
    parameters_choose_providers,
)
from sibyl_runtime.workspace.checks.queries import queries_are_searched_for, queries_need_a_model_that_writes
from sibyl_runtime.workspace.checks.references import (
    parameters_are_declared,
    parameters_fit_their_settings,
    references_have_a_meaning,
)
from sibyl_runtime.workspace.checks.reranking import (
    a_cross_encoder_is_opened_in_one_way,
    reranking_can_ask_its_language_model,
    reranking_is_fixed_at_the_start,
)
from sibyl_runtime.workspace.checks.routing import fallback_providers_exist, templates_choose_providers
from sibyl_runtime.workspace.checks.server import authentication_has_keys, ports_differ
from sibyl_runtime.workspace.checks.shops import (
    caching_fits,
    shop_settings_are_known,
    shop_techniques_are_known,
    shops_are_known,
)
from sibyl_runtime.workspace.checks.stdio import http_settings_need_http
from sibyl_runtime.workspace.checks.steps import (
    shops_in_use_are_enabled,
    step_names_are_unique,
    step_settings_fit,
    steps_follow_what_they_need,
    techniques_are_known,
    vectors_are_stored,
)
from sibyl_runtime.workspace.checks.timeouts import step_timeouts_have_effect
from sibyl_runtime.workspace.checks.tools import (
    parameter_values_fit,
    pipeline_parameters_are_used,
    tool_names_are_unique,
    tool_parameters_fit_their_pipeline,
    tool_pipelines_exist,
)
from sibyl_runtime.workspace.checks.tracing import collector_is_an_address
from sibyl_runtime.workspace.checks.warming import (
    warmed_questions_can_be_asked,
    warming_has_caches,
    warming_stands_alone,
)

__all__ = ["AVAILABILITY_CHECKS", "CROSS_CHECKS", "Check", "Context", "Finding", "references_have_a_meaning"]

CROSS_CHECKS: tuple[Check, ...] = (
    named_providers_exist,
    default_llm_is_clear,
    shops_are_known,
    shop_settings_are_known,
    shop_techniques_are_known,
    caching_fits,
    techniques_are_known,
    step_names_are_unique,
    shops_in_use_are_enabled,
    step_settings_fit,
    parameters_are_declared,
    parameters_fit_their_settings,
    conditions_can_be_evaluated,
    steps_follow_what_they_need,
    vectors_are_stored,
    queries_need_a_model_that_writes,
    queries_are_searched_for,
    error_policies_can_work,
    pipeline_parameters_are_used,
    tool_names_are_unique,
    tool_pipelines_exist,
    tool_parameters_fit_their_pipeline,
    parameter_values_fit,
    authentication_has_keys,
    ports_differ,
    addresses_can_be_read,
    collector_is_an_address,
    kpi_names_are_unique,
    kpis_can_be_measured,
    authentication_settings_belong,
    tokens_can_be_verified,
    key_metadata_means_keys,
    permissions_mean_tools,
    rate_limits_can_be_kept,
    origins_are_named_for_credentials,
    reranking_is_fixed_at_the_start,
    a_cross_encoder_is_opened_in_one_way,
    reranking_can_ask_its_language_model,
    structured_answers_have_a_model,
    templates_choose_providers,
    fallback_providers_exist,
    embedding_settings_have_effect,
    parameters_choose_providers,
    steps_use_each_other,
    reranking_keeps_what_was_found,
    http_settings_need_http,
    groups_can_run_side_by_side,
    gathered_names_have_a_meaning,
    step_timeouts_have_effect,
    queries_take_no_parameters,
    vectors_of_their_own_length_have_effect,
    warming_stands_alone,
    warming_has_caches,
    warmed_questions_can_be_asked,
)

AVAILABILITY_CHECKS: tuple[Check, ...] = (
    fields_are_available,
    providers_are_available,
    shop_settings_are_available,
    techniques_are_available,
    step_settings_are_available,
)
