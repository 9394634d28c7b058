"""Stands where a page is being built."""

from django.http import HttpRequest, HttpResponse


def soon(request: HttpRequest, **kwargs: object) -> HttpResponse:
    return HttpResponse("soon", status=501)
