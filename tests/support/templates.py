"""Reads a synthesized CloudFormation template: resources by type, and intrinsic functions as one plain text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Resource = Mapping[str, Any]


@dataclass(frozen=True)
class Template:
    """One stack's template."""

    body: Mapping[str, Any]

    @classmethod
    def read(cls, assembly: Path, stack: str) -> Template:
        return cls(json.loads((assembly / f"{stack}.template.json").read_text()))

    def of(self, kind: str) -> dict[str, Resource]:
        """The resources of one type, by logical id."""
        return {name: one for name, one in self.body["Resources"].items() if one["Type"] == kind}

    def one(self, kind: str, **properties: object) -> tuple[str, Resource]:
        """The only resource of a type whose properties, rendered, have these values."""
        found = [
            (name, resource)
            for name, resource in self.of(kind).items()
            if all(text(resource["Properties"].get(key)) == value for key, value in properties.items())
        ]
        assert len(found) == 1, f"{len(found)} resources of {kind} with {properties}"
        return found[0]

    def statements(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """(logical id of the policy, statement) of every statement that allows an IAM role something."""
        for name, policy in self.of("AWS::IAM::Policy").items():
            for statement in policy["Properties"]["PolicyDocument"]["Statement"]:
                if statement["Effect"] == "Allow":
                    yield name, statement

    def allowed(self, role: str) -> dict[str, set[str]]:
        """What a role may do: action -> resources, rendered."""
        allowed: dict[str, set[str]] = {}
        for policy, statement in self.statements():
            if {"Ref": role} in self.body["Resources"][policy]["Properties"]["Roles"]:
                for action in listed(statement["Action"]):
                    allowed.setdefault(action, set()).update(text(resource) for resource in listed(statement["Resource"]))
        return allowed


def listed(value: Any) -> list[Any]:
    """IAM writes a list of one as the one."""
    return value if isinstance(value, list) else [value]


def text(value: Any) -> Any:
    """A value as a reader takes it: Ref as `{Name}`, Fn::GetAtt as `{Name.Attribute}`, of other stacks too; Fn::Join joined."""
    match value:
        case {"Ref": name}:
            return f"{{{name}}}"
        case {"Fn::GetAtt": parts}:
            return f"{{{'.'.join(parts)}}}"
        case {"Fn::ImportValue": export}:
            return _imported(text(export))
        case {"Fn::Join": [separator, parts]}:
            return separator.join(str(text(part)) for part in parts)
        case {"Fn::Sub": str(template)}:
            return template
    return value


def _imported(export: str) -> str:
    """What CDK names an export by: of which stack, of Ref or Fn::GetAtt, of what."""
    named = re.fullmatch(r".+:ExportsOutput(Ref|FnGetAtt)(.+)[0-9A-F]{8}", export)
    assert named is not None, export
    kind, name = named.groups()
    return f"{{{name}}}" if kind == "Ref" else re.sub(r"(.+?[0-9A-F]{8})([A-Z]\w+)", r"{\1.\2}", name)
