"""How provider accounts, the models asked there, and their prices are entered."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any, get_args, get_type_hints

from django import forms
from django.core.validators import RegexValidator
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from kb.llm import openai_compatible
from kb.llm.actions import LONGEST_PARAMETERS, MOST_CALLS_AT_ONCE
from kb.llm.anthropic import DEFAULT_BASE_URL as ANTHROPIC_URL
from kb.llm.base import JSON, host_of
from kb.llm.clients import SIMULATED
from kb.llm.models import Connection, Price, Target
from kb.llm.openai_compatible import SERVICES

OTHER = "other"
LONGEST_KEY = 4_000
"""Characters; the longest keys, signed tokens of company gateways, have some 2,000."""
LARGEST_LIMIT = 2_000_000_000
"""What the column holds."""
USUAL_CURRENCY = "EUR"
QUIRK_NAMES = ("auth_header", "max_tokens_field", "seed_field")


@dataclass(frozen=True)
class Service:
    """A service as a person knows it: the provider that talks to it, and what to propose."""

    label: str | Promise
    provider: str
    base_url: str
    hint: str | Promise


def _openai(name: str, label: str | Promise, hint: str | Promise) -> Service:
    return Service(label, "openai_compatible", SERVICES[name][0], hint)


CHOICES: Mapping[str, Service] = {
    "openai": _openai(
        "openai",
        "OpenAI",
        gettext_lazy("The key comes from platform.openai.com; a ChatGPT subscription has none."),
    ),
    "anthropic": Service(
        "Anthropic (Claude)",
        "anthropic",
        ANTHROPIC_URL,
        gettext_lazy("The key comes from console.anthropic.com; a Claude subscription has none."),
    ),
    "mistral": _openai(
        "mistral", "Mistral", gettext_lazy("The key comes from console.mistral.ai.")
    ),
    "gemini": _openai(
        "gemini", "Google Gemini", gettext_lazy("The key comes from aistudio.google.com.")
    ),
    "azure": _openai(
        "azure",
        "Azure OpenAI",
        gettext_lazy(
            "Put the name of your resource into the address in place of NAME. As model, write the name of your deployment."
        ),
    ),
    "ollama": _openai(
        "ollama",
        "Ollama",
        gettext_lazy(
            "Runs on a machine of yours and needs no key. Its address must be opened in the setting RETEX_EGRESS_ALLOW."
        ),
    ),
    "vllm": _openai(
        "vllm",
        "vLLM",
        gettext_lazy(
            "Runs on a machine of yours, mostly without a key. Its address must be opened in the setting RETEX_EGRESS_ALLOW."
        ),
    ),
    "lmstudio": _openai(
        "lmstudio",
        "LM Studio",
        gettext_lazy(
            "Runs on a machine of yours and needs no key. Its address must be opened in the setting RETEX_EGRESS_ALLOW."
        ),
    ),
    OTHER: Service(
        gettext_lazy("Another service that speaks OpenAI’s language"),
        "openai_compatible",
        "",
        gettext_lazy("A gateway of your company, for instance. The address mostly ends in /v1."),
    ),
    SIMULATED: Service(
        gettext_lazy("Simulated, for trying things out"),
        SIMULATED,
        "",
        gettext_lazy("Nobody is asked and nothing is paid; every answer is labelled as simulated."),
    ),
}


def service_of(connection: Connection) -> str:
    """Which of CHOICES a stored connection is; OTHER when its address or habits are its own."""
    if connection.provider != "openai_compatible":
        return connection.provider if connection.provider in CHOICES else OTHER
    for name, (address, quirks) in SERVICES.items():
        if _leads_there(name, connection.base_url or SERVICES["openai"][0], address) and (
            _habits(connection) == asdict(quirks)
        ):
            return name
    return OTHER


def _habits(connection: Connection) -> dict[str, str]:
    return asdict(openai_compatible.Quirks()) | dict(connection.quirks)


def _leads_there(name: str, address: str, usual: str) -> bool:
    if name == "azure":
        return ".openai.azure.com/" in address
    return address.rstrip("/") == usual


class ConnectionForm(forms.Form):
    """A provider account. `to_fields` is what the action takes."""

    service = forms.ChoiceField(
        label=gettext_lazy("Service"),
        choices=[(name, service.label) for name, service in CHOICES.items()],
    )
    name = forms.CharField(
        label=gettext_lazy("Name"),
        max_length=80,
        help_text=gettext_lazy(
            "What people see when they choose a model, such as “Mistral, Lyon”."
        ),
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )
    base_url = forms.CharField(
        label=gettext_lazy("Address"),
        required=False,
        max_length=300,
        help_text=gettext_lazy("Leave it empty for the service’s usual address."),
        widget=forms.TextInput(
            attrs={"inputmode": "url", "autocomplete": "off", "spellcheck": "false"}
        ),
    )
    api_key = forms.CharField(
        label=gettext_lazy("Key"),
        required=False,
        max_length=LONGEST_KEY,
        validators=[
            RegexValidator(
                r"\A[\x21-\x7e]+\Z",
                gettext_lazy("A key has no spaces, accents or line breaks; copy it again."),
            )
        ],
        widget=forms.PasswordInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )
    removes_key = forms.BooleanField(label=gettext_lazy("Remove the stored key"), required=False)
    calls_at_once = forms.IntegerField(
        label=gettext_lazy("Calls at once"),
        min_value=1,
        max_value=MOST_CALLS_AT_ONCE,
        initial=8,
        help_text=gettext_lazy("More is faster; too many and the provider asks to slow down."),
    )
    requests_per_minute = forms.IntegerField(
        label=gettext_lazy("Requests a minute"),
        required=False,
        min_value=1,
        max_value=LARGEST_LIMIT,
        help_text=gettext_lazy("Empty: no limit of ours."),
    )
    tokens_per_minute = forms.IntegerField(
        label=gettext_lazy("Tokens a minute"),
        required=False,
        min_value=1,
        max_value=LARGEST_LIMIT,
        help_text=gettext_lazy("Empty: no limit of ours."),
    )
    auth_header = forms.ChoiceField(
        label=gettext_lazy("How the key travels"), required=False, choices=[]
    )
    max_tokens_field = forms.ChoiceField(
        label=gettext_lazy("Name of the length limit"), required=False, choices=[]
    )
    seed_field = forms.ChoiceField(
        label=gettext_lazy("Name of the seed"), required=False, choices=[]
    )

    def __init__(
        self, data: Mapping[str, Any] | None = None, connection: Connection | None = None
    ) -> None:
        initial = _initial(connection) if connection else {"service": "openai"}
        super().__init__(data, initial=initial, use_required_attribute=False)
        self.connection = connection
        hints = get_type_hints(openai_compatible.Quirks)
        for name in QUIRK_NAMES:
            field = self.fields[name]
            assert isinstance(field, forms.ChoiceField)  # noqa: S101 - they are declared above
            field.choices = [(value, value) for value in get_args(hints[name])]

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        service = CHOICES.get(data.get("service", ""))
        if service is None or "base_url" not in data:
            return data
        if self._kept_usual_address(data):
            data["base_url"] = ""
        data["base_url"] = data["base_url"] or service.base_url
        if service.provider == SIMULATED:
            data["base_url"] = ""
        elif not data["base_url"]:
            self.add_error(
                "base_url",
                _("Write the address of the service, such as https://llm.company.example/v1."),
            )
        elif "//NAME." in data["base_url"]:
            self.add_error("base_url", _("Put the name of your resource in place of NAME."))
        else:
            self._check_address(data["base_url"])
        if data.get("removes_key") and data.get("api_key"):
            self.add_error("removes_key", _("Either enter a new key or remove the old one."))
        return data

    def _kept_usual_address(self, data: Mapping[str, Any]) -> bool:
        """Whether another service was chosen and the usual address of the one before left behind."""
        before = CHOICES.get(self.initial["service"])
        return (
            data["service"] != self.initial["service"]
            and before is not None
            and bool(before.base_url)
            and data["base_url"] == before.base_url
        )

    def _check_address(self, address: str) -> None:
        try:
            host_of(address)
        except ValueError:
            self.add_error(
                "base_url",
                _(
                    "“%(value)s” is not the address of a service. Write it like https://api.example.com/v1."
                )
                % {"value": address},
            )

    def to_fields(self) -> dict[str, Any]:
        """Keywords of kb.llm.actions.save_connection; only after is_valid."""
        data = self.cleaned_data
        name = data["service"]
        return {
            "name": data["name"],
            "provider": CHOICES[name].provider,
            "base_url": data["base_url"],
            "api_key": "" if data["removes_key"] else data["api_key"] or None,
            "quirks": self._quirks(name),
            "calls_at_once": data["calls_at_once"],
            "requests_per_minute": data["requests_per_minute"] or 0,
            "tokens_per_minute": data["tokens_per_minute"] or 0,
        }

    def _quirks(self, name: str) -> dict[str, JSON]:
        if name in SERVICES:
            return asdict(SERVICES[name][1])
        stays = self.connection is not None and self.connection.provider == CHOICES[name].provider
        kept = dict(self.connection.quirks) if self.connection and stays else {}
        if name == OTHER:
            chosen = {quirk: self.cleaned_data[quirk] for quirk in QUIRK_NAMES}
            kept |= {quirk: value for quirk, value in chosen.items() if value}
        return kept


def _initial(connection: Connection) -> dict[str, Any]:
    habits = _habits(connection) if connection.provider == "openai_compatible" else {}
    return {
        "service": service_of(connection),
        "name": connection.name,
        "base_url": connection.base_url,
        "calls_at_once": connection.calls_at_once,
        "requests_per_minute": connection.requests_per_minute,
        "tokens_per_minute": connection.tokens_per_minute,
        **{quirk: habits[quirk] for quirk in QUIRK_NAMES if quirk in habits},
    }


def parameters_text(target: Target) -> str:
    """The parameters of a target as they were written; '' for none."""
    return json.dumps(target.parameters, ensure_ascii=False) if target.parameters else ""


class TargetForm(forms.Form):
    """A model to be asked, and the parameters that travel with every request to it."""

    model = forms.CharField(
        label=gettext_lazy("Model"),
        max_length=120,
        help_text=gettext_lazy("As the provider spells it."),
        widget=forms.TextInput(
            attrs={"list": "models", "autocomplete": "off", "spellcheck": "false"}
        ),
    )
    parameters = forms.CharField(
        label=gettext_lazy("Parameters"),
        required=False,
        max_length=LONGEST_PARAMETERS,
        help_text=gettext_lazy(
            'JSON, passed on as it is, for instance <code>{"temperature": 0, "max_tokens": 800}</code>. Empty: the model’s own defaults, as people meet them.'
        ),
        widget=forms.Textarea(attrs={"rows": 2, "class": "mono small-box", "spellcheck": "false"}),
    )

    is_embedding = forms.BooleanField(
        label=gettext_lazy("It is an embeddings model: it makes vectors and answers no prompt"),
        required=False,
    )

    def __init__(self, data: Mapping[str, Any] | None = None) -> None:
        super().__init__(data, prefix="target", use_required_attribute=False)

    def clean_parameters(self) -> dict[str, JSON]:
        """The object that was written; an empty one for nothing."""
        text = self.cleaned_data["parameters"].strip()
        if not text:
            return {}
        try:
            value = json.loads(text, parse_constant=_no_constant)
        except json.JSONDecodeError as error:
            raise forms.ValidationError(
                _("This is not JSON: look at line %(line)s, character %(column)s.")
                % {"line": error.lineno, "column": error.colno}
            ) from error
        except (ValueError, RecursionError) as error:
            raise forms.ValidationError(_("This is not JSON that can be kept.")) from error
        if not isinstance(value, dict):
            raise forms.ValidationError(_('Write an object, in curly braces: {"temperature": 0}.'))
        if not _can_be_stored(value):
            raise forms.ValidationError(
                _("This holds a character or a number that cannot be kept.")
            )
        return value


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _can_be_stored(value: JSON) -> bool:
    """Whether PostgreSQL takes it: no NUL, no half of a surrogate pair, no infinite number."""
    try:
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
        return not any("\x00" in text for text in _texts(value))
    except (ValueError, RecursionError):
        return False


def _texts(value: JSON) -> Iterator[str]:
    """Every name and text in a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for part in value:
            yield from _texts(part)
    elif isinstance(value, dict):
        for name, part in value.items():
            yield name
            yield from _texts(part)


class PriceForm(forms.Form):
    """What one model costs; empty while nobody knows."""

    input_per_million = forms.DecimalField(
        label=gettext_lazy("Per million tokens read"),
        required=False,
        localize=True,
        min_value=Decimal(0),
        max_digits=12,
        decimal_places=4,
    )
    output_per_million = forms.DecimalField(
        label=gettext_lazy("Per million tokens written"),
        required=False,
        localize=True,
        min_value=Decimal(0),
        max_digits=12,
        decimal_places=4,
    )
    currency = forms.CharField(
        label=gettext_lazy("Currency"),
        required=False,
        validators=[
            RegexValidator(
                r"\A[A-Za-z]{3}\Z", gettext_lazy("Three letters, such as EUR, GBP or USD.")
            )
        ],
        widget=forms.TextInput(
            attrs={"maxlength": 3, "autocomplete": "off", "spellcheck": "false"}
        ),
    )

    def __init__(
        self, model: str, price: Price | None, data: Mapping[str, Any] | None = None
    ) -> None:
        initial: dict[str, Any] = {"currency": price.currency if price else USUAL_CURRENCY}
        if price:
            initial |= {
                "input_per_million": _short(price.input_per_million),
                "output_per_million": _short(price.output_per_million),
            }
        # By name, not by place: the list may have grown since the page was drawn.
        digest = hashlib.sha256(model.encode()).hexdigest()[:12]
        super().__init__(
            data, initial=initial, prefix=f"price-{digest}", use_required_attribute=False
        )
        self.model = model
        self.is_known = price is not None
        for field in self.fields.values():
            field.widget.attrs["aria-label"] = f"{field.label}, {model}"
        for name in ("input_per_million", "output_per_million"):
            self.fields[name].widget.attrs |= {"inputmode": "decimal", "autocomplete": "off"}

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        prices = [data.get("input_per_million"), data.get("output_per_million")]
        if self.errors or all(price is not None for price in prices):
            return data
        if any(price is not None for price in prices):
            missing = "input_per_million" if prices[0] is None else "output_per_million"
            self.add_error(missing, _("Both prices are needed; write 0 for what is free."))
        elif self.is_known:
            self.add_error(
                "input_per_million", _("A price cannot be emptied; write 0 for what is free.")
            )
        return data

    def clean_currency(self) -> str:
        """In capitals; the usual one when nothing is said."""
        return str(self.cleaned_data["currency"]).upper() or USUAL_CURRENCY

    @property
    def says_something(self) -> bool:
        """Whether there is a price to be kept, one that differs from the stored one."""
        return self.has_changed() and self.cleaned_data.get("input_per_million") is not None


def _short(number: Decimal) -> Decimal:
    """0.1500 as 0.15, 2.0000 as 2."""
    return number.quantize(Decimal(1)) if number == number.to_integral() else number.normalize()


def price_forms(
    models: Sequence[str], prices: Mapping[str, Price], data: Mapping[str, Any] | None = None
) -> list[PriceForm]:
    """A form for each model, in their order."""
    return [PriceForm(model, prices.get(model), data) for model in models]
