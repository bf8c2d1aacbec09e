"""The options by which a table is read and split, and the dataset that they give."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from job.log import log_line

if TYPE_CHECKING:
    from job.data.dataset import Dataset
    from job.data.reading import Reading

Delimiter = Annotated[
    str | None,
    typer.Option(
        "--delimiter",
        metavar="CHAR",
        envvar="JOB_DELIMITER",
        help="What separates the columns: a character, tab, or space for any white space. Default: found.",
    ),
]
Decimal = Annotated[
    str | None,
    typer.Option(
        "--decimal", metavar="CHAR", envvar="JOB_DECIMAL", help="The decimal point: . or , Default: found."
    ),
]
Thousands = Annotated[
    str | None,
    typer.Option(
        "--thousands",
        metavar="CHAR",
        envvar="JOB_THOUSANDS",
        help="What separates thousands: a character, or space. Default: nothing.",
    ),
]
NoHeader = Annotated[
    bool,
    typer.Option(
        "--no-header",
        envvar="JOB_NO_HEADER",
        help="The table has no line of names; its columns are column_1, column_2 and so on.",
    ),
]
Features = Annotated[
    str | None,
    typer.Option(
        "--features",
        metavar="A,B",
        envvar="JOB_FEATURES",
        help="Columns to train on, separated by commas; a name with a comma in double quotes. Default: all "
        "but the target.",
    ),
]
Drop = Annotated[
    str | None,
    typer.Option(
        "--drop",
        metavar="A,B",
        envvar="JOB_DROP",
        help="Columns to leave out, written likewise; column_5 is the fifth, unless another has this name.",
    ),
]
Missing = Annotated[
    str | None,
    typer.Option(
        "--missing",
        metavar="HOW",
        envvar="JOB_MISSING",
        help="drop: leave out rows with a missing value; mean: put the training rows' mean in its place. "
        "Default: refuse the table.",
    ),
]
Constant = Annotated[
    str | None,
    typer.Option(
        "--constant",
        metavar="HOW",
        envvar="JOB_CONSTANT",
        help="drop: leave out features that are constant in the training rows. Default: refuse the table.",
    ),
]
TestShare = Annotated[
    float,
    typer.Option(
        "--test-share",
        metavar="SHARE",
        envvar="JOB_TEST_SHARE",
        help="Share of the rows, the last ones, that are test rows; between 0 and 1.",
    ),
]
Shuffle = Annotated[
    int | None,
    typer.Option(
        "--shuffle",
        metavar="SEED",
        envvar="JOB_SHUFFLE",
        help="Shuffle the rows before the split, by this seed. Default: file order.",
    ),
]


@dataclass(frozen=True, slots=True)
class ReadingOptions:
    """The options by which a table is read and split."""

    delimiter: Delimiter = None
    decimal: Decimal = None
    thousands: Thousands = None
    no_header: NoHeader = False
    features: Features = None
    drop: Drop = None
    missing: Missing = None
    constant: Constant = None
    test_share: TestShare = 0.2
    shuffle: Shuffle = None

    def reading(self) -> Reading:
        """The options as they are stored. Raises DataError for one that has no meaning."""
        from job.data.reading import Reading, character_of, listed  # here and below: `job runs` needs none

        return Reading(
            delimiter=character_of(self.delimiter),
            decimal=self.decimal,
            thousands=character_of(self.thousands),
            header=not self.no_header,
            features=listed(self.features),
            drop=listed(self.drop),
            missing=self.missing,
            constant=self.constant,
            test_share=self.test_share,
            shuffle=self.shuffle,
        )

    def dataset(self, data: Path | None, target: str | None) -> Dataset:
        """The dataset, after a line for all that is left out of the file and for each doubt.

        Raises DataError.
        """
        from job.data.dataset import DEFAULT_DATA, doubts, load

        dataset = load(data or DEFAULT_DATA, target, self.reading())
        for line in (*dataset.notes, *(f"warning: {doubt}" for doubt in doubts(dataset))):
            log_line(f"{dataset.name}: {line}")
        return dataset
