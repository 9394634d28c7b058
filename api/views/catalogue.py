"""Departments, tools, use cases and tags: what prompts are found by."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http import Http404
from django.urls import reverse
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import Department
from api.idempotency import once_per_key
from api.pagination import MOST_PER_PAGE, Pages
from api.schema import described, page_of
from api.serializers.catalogue import (
    DepartmentSent,
    DepartmentShown,
    TagShown,
    ToolSent,
    ToolShown,
    UseCaseSent,
    UseCaseShown,
)
from api.views.base import Door
from kb.prompts import catalogue_actions as actions
from kb.prompts.models import Tool, UseCase
from kb.prompts.queries import tags_in_use

TAG = "Catalogue"


class Departments(Door):
    """The parts of the company."""

    @described(
        "List departments",
        tag=TAG,
        answers={200: page_of(DepartmentShown)},
        is_paged=True,
        usual_page_size=MOST_PER_PAGE,
    )
    def get(self, request: Request) -> Response:
        """All of them, in their order, a hundred to a page."""
        return self.page(DepartmentShown, Department.objects.all(), Pages(MOST_PER_PAGE))

    @described(
        "Create a department",
        tag=TAG,
        sends=DepartmentSent,
        answers={201: DepartmentShown},
        is_once_per_key=True,
        example={"name_en": "Legal", "name_fr": "Juridique"},
    )
    @once_per_key
    def post(self, request: Request) -> Response:
        """For curators and administrators of the company."""
        return _made(self, DepartmentSent, DepartmentShown, actions.save_department, "department")


class OneDepartment(Door):
    """One department."""

    @described("Read a department", tag=TAG, answers={200: DepartmentShown}, refuses=(404,))
    def get(self, request: Request, slug: str) -> Response:
        """Its names and place."""
        return Response(self.shown(DepartmentShown, _found(Department, slug)))

    @described(
        "Change a department",
        tag=TAG,
        sends=DepartmentSent,
        answers={200: DepartmentShown},
        refuses=(404,),
    )
    def patch(self, request: Request, slug: str) -> Response:
        """For curators and administrators of the company. The slug stays."""
        row = _found(Department, slug)
        sent = self.sent(DepartmentSent, is_partial=True)
        changed = actions.save_department(by=self.person, department=row, **sent)
        return Response(self.shown(DepartmentShown, changed))


class Tools(Door):
    """The products people type into."""

    @described(
        "List tools",
        tag=TAG,
        answers={200: page_of(ToolShown)},
        is_paged=True,
        usual_page_size=MOST_PER_PAGE,
    )
    def get(self, request: Request) -> Response:
        """All of them, retired ones included, in their order, a hundred to a page."""
        return self.page(ToolShown, Tool.objects.all(), Pages(MOST_PER_PAGE))

    @described(
        "Create a tool",
        tag=TAG,
        sends=ToolSent,
        answers={201: ToolShown},
        is_once_per_key=True,
        example={"name": "Le Chat", "kind": "text"},
    )
    @once_per_key
    def post(self, request: Request) -> Response:
        """For curators and administrators of the company."""
        return _made(self, ToolSent, ToolShown, actions.save_tool, "tool")


class OneTool(Door):
    """One tool."""

    @described("Read a tool", tag=TAG, answers={200: ToolShown}, refuses=(404,))
    def get(self, request: Request, slug: str) -> Response:
        """Its name, its kind, and the address that takes a prompt."""
        return Response(self.shown(ToolShown, _found(Tool, slug)))

    @described("Change a tool", tag=TAG, sends=ToolSent, answers={200: ToolShown}, refuses=(404,))
    def patch(self, request: Request, slug: str) -> Response:
        """For curators and administrators of the company. The slug stays."""
        row = _found(Tool, slug)
        changed = actions.save_tool(
            by=self.person, tool=row, **self.sent(ToolSent, is_partial=True)
        )
        return Response(self.shown(ToolShown, changed))


class UseCases(Door):
    """What people want to get done."""

    @described(
        "List use cases",
        tag=TAG,
        answers={200: page_of(UseCaseShown)},
        is_paged=True,
        usual_page_size=MOST_PER_PAGE,
    )
    def get(self, request: Request) -> Response:
        """All of them, in their order, a hundred to a page."""
        return self.page(UseCaseShown, UseCase.objects.all(), Pages(MOST_PER_PAGE))

    @described(
        "Create a use case",
        tag=TAG,
        sends=UseCaseSent,
        answers={201: UseCaseShown},
        is_once_per_key=True,
        example={"name_en": "Summarise", "name_fr": "Résumer"},
    )
    @once_per_key
    def post(self, request: Request) -> Response:
        """For curators and administrators of the company."""
        return _made(self, UseCaseSent, UseCaseShown, actions.save_use_case, "use-case")


class OneUseCase(Door):
    """One use case."""

    @described("Read a use case", tag=TAG, answers={200: UseCaseShown}, refuses=(404,))
    def get(self, request: Request, slug: str) -> Response:
        """Its names, its help and its place."""
        return Response(self.shown(UseCaseShown, _found(UseCase, slug)))

    @described(
        "Change a use case",
        tag=TAG,
        sends=UseCaseSent,
        answers={200: UseCaseShown},
        refuses=(404,),
    )
    def patch(self, request: Request, slug: str) -> Response:
        """For curators and administrators of the company. The slug stays."""
        row = _found(UseCase, slug)
        sent = self.sent(UseCaseSent, is_partial=True)
        changed = actions.save_use_case(by=self.person, use_case=row, **sent)
        return Response(self.shown(UseCaseShown, changed))


class Tags(Door):
    """The free words on prompts."""

    @described(
        "List tags",
        tag=TAG,
        answers={200: page_of(TagShown)},
        is_paged=True,
        usual_page_size=MOST_PER_PAGE,
    )
    def get(self, request: Request) -> Response:
        """Those on published prompts you may read, the most used first."""
        return self.page(TagShown, tags_in_use(self.person), Pages(MOST_PER_PAGE))


def _found[Row: (Department, Tool, UseCase)](model: type[Row], slug: str) -> Row:
    row = model.objects.filter(slug=slug).first()
    if row is None:
        raise Http404
    return row


def _made(
    door: Door,
    sends: type[serializers.Serializer[Any]],
    shows: type[serializers.Serializer[Any]],
    save: Callable[..., Any],
    name: str,
) -> Response:
    sent = door.sent(sends)
    if sends is not ToolSent and (both := sent.pop("name", None)) is not None:
        sent = {"name_en": both, "name_fr": both, **sent}
    made = save(by=door.person, **sent)
    address = door.request.build_absolute_uri(reverse(f"api:{name}", args=[made.slug]))
    return Response(door.shown(shows, made), status=201, headers={"Location": address})
