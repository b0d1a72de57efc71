"""Checks of the `shops` section: every setting there must reach a technique."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from sibyl_runtime.workspace.caching import Caching
from sibyl_runtime.workspace.checks.context import Context, Finding
from sibyl_runtime.workspace.errors import suggestion
from sibyl_runtime.workspace.explain import Fault, explained
from sibyl_runtime.workspace.meaning import PER_TECHNIQUE
from sibyl_runtime.workspace.step_configs import AnyConfig
from sibyl_runtime.workspace.techniques import SHOPS, TECHNIQUES, TechniqueSpec, canonical_use, techniques_of


def shops_are_known(context: Context) -> Iterator[Finding]:
    """A shop that does not exist configures nothing."""
    for shop in context.workspace.shops:
        if shop not in SHOPS:
            yield Finding(context.shop_at(shop), f'no shop is called "{shop}"{suggestion(shop, SHOPS)}')


def shop_techniques_are_known(context: Context) -> Iterator[Finding]:
    """Settings of a technique must name one of the shop, and fit it."""
    for shop_name, shop in context.workspace.shops.items():
        if shop_name not in SHOPS:
            continue
        names = {spec.short for spec in techniques_of(shop_name)}
        for written, config in shop.techniques.items():
            at = (*context.shop_at(shop_name), "techniques", written)
            spec = TECHNIQUES.get(canonical_use(f"{shop_name}.{written}"))
            if spec is None:
                yield Finding(
                    at, f'no technique of shop "{shop_name}" is called "{written}"{suggestion(written, names)}'
                )
                continue
            for fault in field_faults(spec, config):
                yield Finding((*at, *fault.place), fault.message)


def shop_settings_are_known(context: Context) -> Iterator[Finding]:
    """A setting of a shop must be one that some technique of the shop knows, and fit every one that knows it."""
    for shop_name, shop in context.workspace.shops.items():
        specs = techniques_of(shop_name)
        at = (*context.shop_at(shop_name), "config")
        for key, value in shop.config.items():
            if (shop_name, key) == ("infrastructure", "caching"):
                continue
            knowing = [spec for spec in specs if key in spec.config.model_fields]
            if key in PER_TECHNIQUE and knowing:
                names = ", ".join(sorted(spec.short for spec in knowing))
                yield Finding((*at, key), f"means something else to each technique; put it under techniques ({names})")
            elif knowing:
                for spec in knowing:
                    for fault in field_faults(spec, {key: value}):
                        yield Finding((*at, *fault.place), fault.message)
            elif not all(issubclass(spec.config, AnyConfig) for spec in specs):
                yield Finding((*at, key), f'no technique of shop "{shop_name}" knows it{_known_keys(shop_name, key)}')


def _known_keys(shop: str, key: str) -> str:
    fields = {name for spec in techniques_of(shop) for name in spec.config.model_fields} - PER_TECHNIQUE
    return suggestion(key, fields | ({"caching"} if shop == "infrastructure" else set()))


def field_faults(spec: TechniqueSpec, config: Mapping[str, Any]) -> list[Fault]:
    """What is wrong with single settings of a technique; rules over several are for the merged settings."""
    if issubclass(spec.config, AnyConfig):
        return []
    try:
        spec.config.model_validate(dict(config))
    except ValidationError as error:
        return explained(error, spec.config, rules=False)
    return []


def caching_fits(context: Context) -> Iterator[Finding]:
    """`shops.infrastructure.config.caching` is a model of its own."""
    shop = context.workspace.shops.get("infrastructure")
    if shop is None or "caching" not in shop.config:
        return
    at = (*context.shop_at("infrastructure"), "config", "caching")
    try:
        caching = Caching.model_validate(shop.config["caching"])
    except ValidationError as error:
        yield from (Finding((*at, *fault.place), fault.message) for fault in explained(error, Caching))
        return
    if context.resolved and caching.redis_level is not None and caching.redis_level.url is None:
        yield Finding((*at, "redis", "url"), "is required, as Redis is to be used: redis://host:6379/0")
