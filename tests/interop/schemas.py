"""Holds documents against JSON Schemas with the jsonschema package and prints the first fault of each, or null."""

import json
import sys

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

with open(sys.argv[1], encoding="utf-8") as file:
    given = json.load(file)

validators = {}
for name, schema in given["schemas"].items():
    Draft202012Validator.check_schema(schema)
    validators[name] = Draft202012Validator(schema)

faults = [best_match(validators[one["schema"]].iter_errors(one["document"])) for one in given["documents"]]
print(json.dumps([fault and f"{fault.json_path}: {fault.message}" for fault in faults]))
