"""Where everything that the program makes is kept and found again, by name, on all pages and by all verbs."""

from sai_core.workspace.facts import SetFacts, label_facts
from sai_core.workspace.folder import (
    KIND_NOUNS,
    KINDS,
    NameTakenError,
    StoredSet,
    Trashed,
    Usage,
    Workspace,
    use_workspace,
    workspace,
)
from sai_core.workspace.names import check_name, clean_name
from sai_core.workspace.remembered import Added
from sai_core.workspace.roots import (
    as_prediction_set,
    fits,
    folder_of,
    label_sets,
    of_other_data,
    root_for,
    set_at,
    with_labels_of,
    with_sets,
)

__all__ = [
    "KINDS",
    "KIND_NOUNS",
    "Added",
    "NameTakenError",
    "SetFacts",
    "StoredSet",
    "Trashed",
    "Usage",
    "Workspace",
    "as_prediction_set",
    "check_name",
    "clean_name",
    "fits",
    "folder_of",
    "label_facts",
    "label_sets",
    "of_other_data",
    "root_for",
    "set_at",
    "use_workspace",
    "with_labels_of",
    "with_sets",
    "workspace",
]
