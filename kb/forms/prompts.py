"""What the editor of a prompt is filled with: the prompt, its write-up, and a row for each hole."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from django import forms
from django.core.exceptions import ValidationError
from django.db.models import Q, QuerySet
from django.utils.datastructures import MultiValueDict
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts.models import Department, User
from accounts.standing import standing
from kb.core.words import clean_line, clean_text
from kb.prompts import queries, template
from kb.prompts.actions import PromptFields
from kb.prompts.exchange import guess_language
from kb.prompts.models import (
    CHANGE_NOTE_LENGTH,
    SUMMARY_LENGTH,
    TEXT_LENGTH,
    TITLE_LENGTH,
    WRITE_UP_SECTION_LENGTH,
    Prompt,
    PromptVersion,
    Tool,
    UseCase,
)
from kb.prompts.writeup import SECTIONS, WriteUpSections

LANGUAGES = (
    *("fr", "en", "de", "es", "it", "nl", "pt", "pl", "ru", "tr", "ar", "zh", "ja", "ko"),
    "und",
)
"""Codes offered, ours first; a prompt that has another keeps it."""
POPULAR_TAGS = 12
MOST_ROWS_READ = 200
"""Rows of a posted form that are looked at: the 60 a prompt may have, and those put aside."""
MADE_UP_TITLE_LENGTH = 60
"""Characters of the title a draft gets when it has none yet."""
ROW_FIELDS = ("label", "type", "default", "help", "required", "options")

Data = MultiValueDict[str, str]
"""A posted form, such as the QueryDict of a request."""
Row = Mapping[str, str]
"""What a form says of one hole, as typed; `required` is 'on' or nothing, options stand on lines."""


# --- Fields ------------------------------------------------------------------------------------


class _Text(forms.CharField):
    """Text as people paste it, cleaned of what no database keeps.

    Its limit is told, not enforced by the browser, which would cut a paste without a word.
    """

    def __init__(self, *, limit: int, rows: int = 0, **options: Any) -> None:
        """`rows` 0 makes one line that takes no line break."""
        self.limit = limit
        if rows:
            options.setdefault("widget", forms.Textarea(attrs={"rows": rows, "dir": "auto"}))
        else:
            options.setdefault("widget", forms.TextInput(attrs={"dir": "auto"}))
        super().__init__(**options)

    def to_python(self, value: Any) -> str:
        return clean_text(super().to_python(value) or "")

    def validate(self, value: str) -> None:
        super().validate(value)
        if len(value) > self.limit:
            raise ValidationError(
                gettext("At most %(most)s characters; these are %(count)s.")
                % {"most": self.limit, "count": len(value)}
            )


class _Chips(forms.CheckboxSelectMultiple):
    template_name = "prompts/_chips.html"


class _RadioChips(forms.RadioSelect):
    template_name = "prompts/_chips.html"


class _Words(forms.MultipleChoiceField):
    """Ticked words; one that is no longer offered counts all the same."""

    def valid_value(self, value: str) -> bool:
        return True


class _Rows(forms.ModelMultipleChoiceField):  # type: ignore[type-arg]
    """Rows ticked by their slugs, as chips."""

    def __init__(self, queryset: QuerySet[Any], *, label: Any) -> None:
        super().__init__(queryset, label=label, required=False, to_field_name="slug", widget=_Chips)

    def clean(self, value: Any) -> Any:
        if any("\x00" in slug for slug in value or ()):  # no database takes it
            raise ValidationError(self.error_messages["invalid_list"], code="invalid_list")
        return super().clean(value)


# --- One hole ----------------------------------------------------------------------------------


class VariableForm(forms.Form):
    """How one hole is asked for. Valid, it has a `variable`."""

    label = _Text(label=_("Question or label"), required=False, limit=template.LABEL_LENGTH)
    type = forms.ChoiceField(
        label=_("Answer"),
        choices=[
            ("text", _("A few words")),
            ("long_text", _("A longer text")),
            ("number", _("A number")),
            ("date", _("A date")),
            ("choice", _("One of a list")),
        ],
    )
    default = _Text(label=_("Usual value"), required=False, limit=template.DEFAULT_LENGTH, rows=1)
    help = _Text(label=_("Hint under the field"), required=False, limit=template.HELP_LENGTH)
    required = forms.BooleanField(label=_("Has to be filled in"), required=False)
    options = _Text(
        label=_("The list, one per line"),
        required=False,
        limit=template.MOST_OPTIONS * template.OPTION_LENGTH,
        rows=3,
    )

    use_required_attribute = False

    def __init__(self, name: str, number: int, row: Row, *, is_bound: bool) -> None:
        """The row of the hole `name`, drawn in place `number`; checked only when bound."""
        prefix = f"variable-{number}"
        self.name = name
        self.row = row
        self.variable = template.Variable(name)
        if is_bound:
            super().__init__({f"{prefix}-{key}": row[key] for key in row}, prefix=prefix)
        else:
            super().__init__(initial=dict(row), prefix=prefix)

    @property
    def has_more(self) -> bool:
        """Whether something stands, or is wrong, in the folded part."""
        is_usual = self.row.get("required") == "on" and not self.row.get("help")
        return not is_usual or "help" in self.errors

    def clean(self) -> dict[str, Any]:
        given = super().clean() or {}
        if self.errors:
            return given
        is_choice = given["type"] == "choice"
        options = list(dict.fromkeys(filter(None, map(str.strip, given["options"].split("\n")))))
        if is_choice and not self._can_choose(options, given["default"]):
            return given
        self.variable = template.Variable(
            self.name,
            label=clean_line(given["label"]),
            type=given["type"],
            default=given["default"],
            help=clean_line(given["help"]),
            required=given["required"],
            options=tuple(options) if is_choice else (),
        )
        return given

    def _can_choose(self, options: Sequence[str], default: str) -> bool:
        if not options:
            self.add_error("options", gettext("A list needs at least one line."))
        elif len(options) > template.MOST_OPTIONS:
            self.add_error(
                "options",
                gettext("A list has at most %(most)s lines; these are %(count)s.")
                % {"most": template.MOST_OPTIONS, "count": len(options)},
            )
        elif long := [option for option in options if len(option) > template.OPTION_LENGTH]:
            self.add_error(
                "options",
                gettext("“%(value)s…” is too long; a line has at most %(most)s characters.")
                % {"value": long[0][:30], "most": template.OPTION_LENGTH},
            )
        if default and default not in options:
            self.add_error(
                "default", gettext("“%(value)s” is not in the list.") % {"value": default[:60]}
            )
        return not self.errors


def rows_in(data: Data) -> dict[str, Row]:
    """The rows of a posted form by the name of their hole, as typed, those put aside included."""
    rows: dict[str, Row] = {}
    for number in range(MOST_ROWS_READ):
        name = data.get(f"variable-{number}-name")
        if name is None:
            break
        rows[name] = {key: data.get(f"variable-{number}-{key}", "") for key in ROW_FIELDS}
    return rows


def rows_of(variables: Iterable[template.Variable]) -> dict[str, Row]:
    """The rows of known variables."""
    return {
        variable.name: {
            "label": variable.label,
            "type": variable.type,
            "default": variable.default,
            "help": variable.help,
            "required": "on" if variable.required else "",
            "options": "\n".join(variable.options),
        }
        for variable in variables
    }


def variable_forms(
    holes: Sequence[str], known: Mapping[str, Row], *, is_bound: bool
) -> tuple[list[VariableForm], list[VariableForm]]:
    """A form for each hole, in order, and one for each known row without a hole.

    The second ones are kept out of sight: a sentence that is cut out and pasted elsewhere finds
    its row again.
    """
    live = holes[: template.MOST_VARIABLES]
    plain = rows_of([template.Variable("a")])["a"]
    put_aside = [name for name in known if name not in holes][: MOST_ROWS_READ - len(live)]
    return (
        [
            VariableForm(name, number, known.get(name, plain), is_bound=is_bound)
            for number, name in enumerate(live)
        ],
        [
            VariableForm(name, number, known[name], is_bound=False)
            for number, name in enumerate(put_aside, start=len(live))
        ],
    )


# --- Places to fill in that are written another way --------------------------------------------


@dataclass(frozen=True)
class Offer:
    """A spelling that looks like a hole, offered for conversion."""

    raw: str
    label: str
    count: int
    is_ticked: bool


def offers(data: Mapping[str, str], ticked: Iterable[str], offered: Iterable[str]) -> list[Offer]:
    """What could become variables in `data["text"]` and `data["system"]`.

    `offered` was shown before, `ticked` of it is wanted; what is new is ticked.
    """
    refused = set(offered).difference(ticked)
    counts: dict[str, int] = {}
    labels: dict[str, str] = {}
    for part in ("text", "system"):
        for candidate in template.detect(clean_text(data.get(part, ""))):
            counts[candidate.raw] = counts.get(candidate.raw, 0) + candidate.count
            labels.setdefault(candidate.raw, candidate.label)
    return [
        Offer(raw, labels[raw], counts[raw], raw not in refused)
        for raw in list(counts)[: template.MOST_VARIABLES]
    ]


def convert(data: Data) -> Data:
    """The posted form with its ticked spellings turned into holes that have rows."""
    made = data.copy()
    accepted = set(data.getlist("accept"))
    rows = dict(rows_in(data))
    for part in ("text", "system"):
        converted = template.convert(clean_text(data.get(part, "")), accepted)
        made[part] = converted.text
        rows = rows_of(converted.variables) | rows
    for number, (name, row) in enumerate(rows.items()):
        made[f"variable-{number}-name"] = name
        for key in ROW_FIELDS:
            made[f"variable-{number}-{key}"] = row[key]
    return made


# --- The prompt --------------------------------------------------------------------------------


class PromptForm(forms.Form):
    """Everything an author may say of a prompt."""

    edition = forms.IntegerField(required=False, widget=forms.HiddenInput)
    title = _Text(
        label=_("Title"),
        help_text=_("What it gets done, in the words a colleague would search for."),
        limit=TITLE_LENGTH,
        error_messages={"required": _("A prompt needs a title.")},
    )
    summary = _Text(
        label=_("In a sentence or two"),
        help_text=_("Stands under the title, in lists and in search."),
        required=False,
        limit=SUMMARY_LENGTH,
        rows=2,
    )
    text = _Text(
        label=_("The prompt"),
        help_text=_(
            "Paste it as you use it. What changes each time becomes a place to fill in, such as "
            "{{ client }}."
        ),
        limit=TEXT_LENGTH,
        rows=14,
        strip=False,
        error_messages={"required": _("A prompt needs a text.")},
    )
    system = _Text(
        label=_("Standing instructions"),
        help_text=_(
            "For tools with a second box, called system prompt, custom instructions or agent."
        ),
        required=False,
        limit=TEXT_LENGTH,
        rows=6,
        strip=False,
    )
    purpose = _Text(
        label=_("What it is for"),
        help_text=_("What lies in front of you when you reach for it, and what do you get back?"),
        required=False,
        limit=WRITE_UP_SECTION_LENGTH,
        rows=4,
    )
    worked = _Text(
        label=_("What worked"),
        help_text=_("What made the answers better: a wording, an example, an order of steps?"),
        required=False,
        limit=WRITE_UP_SECTION_LENGTH,
        rows=4,
    )
    failed = _Text(
        label=_("What did not work"),
        help_text=_("Where did it go wrong, even once? This spares colleagues the most time."),
        required=False,
        limit=WRITE_UP_SECTION_LENGTH,
        rows=4,
    )
    limits = _Text(
        label=_("Limits"),
        help_text=_("When should nobody use it? What must always be checked by hand?"),
        required=False,
        limit=WRITE_UP_SECTION_LENGTH,
        rows=4,
    )
    departments = _Rows(Department.objects.all(), label=_("Departments"))
    use_cases = _Rows(UseCase.objects.all(), label=_("Use cases"))
    tools = _Rows(Tool.objects.none(), label=_("Tools you have used it in"))
    popular = _Words(label=_("Tags"), required=False, widget=_Chips)
    tags = _Text(
        label=_("Other tags"),
        help_text=_("Separated by commas."),
        required=False,
        limit=1_000,
    )
    language = forms.ChoiceField(label=_("Language of the prompt"), required=False)
    visibility = forms.ChoiceField(
        label=_("Who may see it"), choices=Prompt.Visibility, widget=_RadioChips
    )
    change_note = _Text(
        label=_("What changed, and why"),
        help_text=_(
            "One sentence for the history. Those who follow the prompt read it, and so will you in "
            "a year."
        ),
        required=False,
        limit=CHANGE_NOTE_LENGTH,
    )

    use_required_attribute = False

    def __init__(
        self,
        data: Data | None = None,
        *,
        initial: Mapping[str, Any] | None = None,
        rows: Mapping[str, Row] | None = None,
        person: User,
        prompt: Prompt | None = None,
    ) -> None:
        super().__init__(data, initial=dict(initial or {}))
        self.person = person
        self.prompt = prompt
        self._offer_choices()
        known = rows_in(data) if data is not None else rows or {}
        text = clean_text(self["text"].value() or "")
        system = clean_text(self["system"].value() or "")
        holes = list(dict.fromkeys([*template.names(text), *template.names(system)]))
        self.hole_count = len(holes)
        guessed = [
            variable
            for part in (text, system)
            for variable in template.convert(part, ()).variables
            if variable.name not in known
        ]
        self.rows, self.rows_aside = variable_forms(
            holes, rows_of(guessed) | dict(known), is_bound=data is not None
        )

    @classmethod
    def blank(cls, person: User, asked: Data) -> PromptForm:
        """A new prompt with the usual answers in it; `asked` may bring a title along."""
        mine = Department.objects.filter(pk__in=standing(person).departments)
        return cls(
            initial={
                "title": clean_line(asked.get("title", ""))[:TITLE_LENGTH],
                "departments": list(mine.values_list("slug", flat=True)),
                "visibility": Prompt.Visibility.COMPANY,
                "language": "",
            },
            person=person,
        )

    @classmethod
    def of(cls, prompt: Prompt, person: User) -> PromptForm:
        """A prompt as it is now."""
        version, write_up = prompt.current, prompt.write_up
        return cls(
            initial={
                **{name: getattr(prompt, name) for name in ("edition", "title", "summary")},
                **{name: getattr(prompt, name) for name in ("language", "visibility")},
                **{section: getattr(write_up, section, "") for section in SECTIONS},
                **{name: getattr(version, name, "") for name in ("text", "system")},
                **{
                    name: [row.slug for row in getattr(prompt, name).all()]
                    for name in ("departments", "tools", "use_cases")
                },
                "tags": ", ".join(tag.name for tag in prompt.tags.all()),
            },
            rows=_rows_of_version(version),
            person=person,
            prompt=prompt,
        )

    @classmethod
    def typed(cls, data: Data, person: User, prompt: Prompt | None) -> PromptForm:
        """What somebody has typed so far, not yet judged."""
        initial = {
            name: field.widget.value_from_datadict(data, {}, name) or ""
            for name, field in cls.base_fields.items()
        }
        return cls(initial=initial, rows=rows_in(data), person=person, prompt=prompt)

    def to_fields(self, status: str | None) -> PromptFields:
        """The clean data as the actions take them; `status` None leaves it as it is."""
        given = self.cleaned_data
        return PromptFields(
            title=given["title"],
            summary=given["summary"],
            text=given["text"],
            system=given["system"],
            variables=[row.variable for row in self.rows],
            language=given["language"],
            write_up=WriteUpSections(**{section: given[section] for section in SECTIONS}),
            departments=list(given["departments"]),
            tools=list(given["tools"]),
            use_cases=list(given["use_cases"]),
            tags=[*given["popular"], *tag_names(given["tags"])],
            visibility=given["visibility"],
            status=status,
        )

    def variables(self) -> list[template.Variable]:
        """The holes as described so far; one whose description is not right yet has only its name."""
        checked = [VariableForm(row.name, 0, row.row, is_bound=True) for row in self.rows]
        for row in checked:
            row.full_clean()
        return [row.variable for row in checked]

    def refuse(self, problems: Mapping[str, object], message: object) -> None:
        """Show what the actions refused, at its field where there is one."""
        for name, problem in problems.items():
            field = name.rpartition(".")[2]
            self.add_error(field if field in self.fields else None, str(problem))
        if not problems:
            self.add_error(None, str(message))

    def clean_title(self) -> str:
        return clean_line(self.cleaned_data["title"])

    def clean_text(self) -> str:
        text: str = self.cleaned_data["text"]
        if not text.strip():
            raise ValidationError(self.fields["text"].error_messages["required"])
        return text

    def clean(self) -> dict[str, Any]:
        given = super().clean() or {}
        if not given.get("language"):
            given["language"] = self.guessed_language(given.get("text", ""))
        if self.hole_count > template.MOST_VARIABLES:
            self.add_error(
                "text",
                gettext("A prompt has at most %(most)s places to fill in; this one has %(count)s.")
                % {"most": template.MOST_VARIABLES, "count": self.hole_count},
            )
        for row in self.rows:
            for problems in row.errors.values():
                label = row.row.get("label") or row.name
                self.add_error(
                    None,
                    gettext("“%(name)s”: %(problem)s") % {"name": label, "problem": problems[0]},
                )
        return given

    def guessed_language(self, text: str) -> str:
        """The language the text is written in; the person's own when it does not tell."""
        found = guess_language(text)
        return found if found != "und" else self.person.language

    def _offer_choices(self) -> None:
        cast("_Rows", self.fields["tools"]).queryset = _tools(self.prompt)
        code = self.prompt.language if self.prompt else "und"
        codes = dict.fromkeys([*LANGUAGES[:-1], code, "und"])
        # Templates give each code its name; nothing chosen means: recognise it from the text.
        cast("forms.ChoiceField", self.fields["language"]).choices = [
            (offered, offered) for offered in ("", *codes)
        ]
        self._part_tags()

    def _part_tags(self) -> None:
        """Offer the popular tags, and tick those the prompt has instead of spelling them out."""
        popular = [tag.name for tag in queries.popular_tags(self.person, POPULAR_TAGS)]
        if self.is_bound:
            ticked = cast("Data", self.data).getlist("popular")
        else:
            ticked = list(self.initial.get("popular") or [])
            spelled = tag_names(self.initial.get("tags", ""))
            ticked += [name for name in spelled if name in popular]
            self.initial["popular"] = ticked
            self.initial["tags"] = ", ".join(name for name in spelled if name not in popular)
        offered = dict.fromkeys([*popular, *ticked])
        cast("forms.ChoiceField", self.fields["popular"]).choices = [(n, n) for n in offered]
        if not offered:
            self.fields["tags"].label = self.fields["popular"].label


def tag_names(spelled: str) -> list[str]:
    """The tags of a list with commas."""
    return [name for part in spelled.split(",") if (name := clean_line(part))]


def _tools(prompt: Prompt | None) -> QuerySet[Tool]:
    """The tools in use, and those the prompt names though they are retired."""
    named = prompt.tools.values("pk") if prompt else Tool.objects.none().values("pk")
    return Tool.objects.filter(Q(is_retired=False) | Q(pk__in=named))


def _rows_of_version(version: PromptVersion | None) -> dict[str, Row]:
    return rows_of(template.variables_from(version.variables)) if version else {}


def made_up_title(text: str) -> str:
    """The beginning of a text as the title of a draft that has none yet."""
    first = next((line for line in clean_text(text).split("\n") if line.strip()), "")
    words = clean_line(first.lstrip("#*-> "))
    if len(words) <= MADE_UP_TITLE_LENGTH:
        return words
    return words[:MADE_UP_TITLE_LENGTH].rpartition(" ")[0].rstrip(",;:.") + "…"
