"""Who may do what with prompts, and who may read them."""

from __future__ import annotations

from collections.abc import Collection

from accounts.models import Membership, User
from accounts.standing import EVERYONE, STEWARDS, department_token, person_token, standing
from kb.prompts.models import Prompt

Role = Membership.Role


def can_publish(person: User) -> bool:
    """Whether the person may create prompts: an author somewhere, or more."""
    return standing(person).has(Role.AUTHOR)


def can_edit(person: User, prompt: Prompt, department_ids: Collection[int]) -> bool:
    """Whether the person may change this prompt: its author, or a curator of it."""
    own = prompt.author_id == person.pk and standing(person).has(Role.AUTHOR)
    return own or can_curate(person, prompt, department_ids)


def can_curate(person: User, prompt: Prompt, department_ids: Collection[int]) -> bool:
    """Whether the person looks after this prompt: curator of one of its departments or of the company.

    What is private stays with its author.
    """
    if prompt.status == Prompt.Status.DRAFT or prompt.visibility == Prompt.Visibility.PRIVATE:
        return False
    return standing(person).has(Role.CURATOR, department_ids)


def audience(
    *, status: str, visibility: str, author_id: int | None, department_ids: Collection[int]
) -> list[str]:
    """The tokens of everybody who may read such a prompt (accounts.standing)."""
    tokens = [person_token(author_id)] if author_id is not None else []
    if status == Prompt.Status.DRAFT or visibility == Prompt.Visibility.PRIVATE:
        return tokens
    if visibility == Prompt.Visibility.COMPANY:
        return [EVERYONE, *tokens]
    return [STEWARDS, *(department_token(pk) for pk in sorted(department_ids)), *tokens]
