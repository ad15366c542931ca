"""Every sentence that adapters put into a prompt, in one place.

The layout (markers, numbering, indentation) is code; the words are here, so that a
change of words is a change of this file and of the golden files, and of nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Wording:
    """The words around a signature's fields; `{...}` are filled in."""

    inputs_title: str = "Input fields:"
    outputs_title: str = "Output fields:"
    about_type: str = "    About {type}: {text}"
    constraints: str = "Constraints: {text}"
    chat_layout: str = "Every message has this layout, with the values in the place of the braces."
    json_layout: str = chat_layout
    json_inputs: str = "The inputs:"
    json_outputs: str = "The outputs, as one JSON object:"
    task: str = "Your task:"
    note: str = "        # {note}"
    note_bool: str = "True or False"
    note_number: str = "one {type}"
    note_enum: str = "one of: {values}"
    note_literal: str = "exactly one of: {values}"
    note_schema: str = "JSON of this schema: {schema}"
    joiner: str = ", then "
    chat_reminder: str = "Write the output fields in this order: {fields}. End with `[[ ## completed ## ]]`."
    json_reminder: str = "Write one JSON object with the fields in this order: {fields}."
    xml_reminder: str = "Write the output fields as XML elements in this order: {fields}."
    reminder_type: str = " (as a Python {type})"
    reminder_tool_calls: str = ' (as JSON: {"tool_calls": [{"name": "...", "args": {...}}]})'
    partial_demo: str = "An example of which some fields are left out."
    absent_in_demo: str = "(left out of this example)"
    absent_in_history: str = "(left out of this message)"


WORDING = Wording()
