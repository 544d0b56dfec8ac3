"""All tasks, in one explicit table.

A task is one frozen value. To add one, write a `Task` in the file of its family, or a tuple in a new file, and list it
here; nothing registers itself.
"""

from xlray.tasks.acceptability import ACCEPTABILITY
from xlray.tasks.inference import INFERENCE
from xlray.tasks.load import available, check_record, digest, load_records
from xlray.tasks.multiple_choice import MULTIPLE_CHOICE
from xlray.tasks.names import NAMES
from xlray.tasks.paraphrase import PARAPHRASE
from xlray.tasks.question_answering import QUESTION_ANSWERING
from xlray.tasks.reading import READING
from xlray.tasks.sentiment import SENTIMENT
from xlray.tasks.similarity import SIMILARITY
from xlray.tasks.tagging import TAGGING
from xlray.tasks.targets import TARGETS
from xlray.tasks.task import Files, Generated, Hub, Joined, Record, Task
from xlray.tasks.text import TEXT
from xlray.tasks.topic import TOPIC
from xlray.tasks.translated import TRANSLATED

_FAMILIES = (
    TARGETS,
    TAGGING,
    NAMES,
    INFERENCE,
    SENTIMENT,
    ACCEPTABILITY,
    TOPIC,
    SIMILARITY,
    PARAPHRASE,
    TRANSLATED,
    QUESTION_ANSWERING,
    MULTIPLE_CHOICE,
    READING,
    TEXT,
)

TASKS: dict[str, Task] = {task.name: task for family in _FAMILIES for task in family}

__all__ = [
    "TASKS",
    "Files",
    "Generated",
    "Hub",
    "Joined",
    "Record",
    "Task",
    "available",
    "check_record",
    "digest",
    "load_records",
]
