"""The options by which a table is read and split, and the dataset that they give."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from job.cli.options import setting
from job.data.dataset import DEFAULT_DATA, Dataset, doubts, load
from job.data.reading import Reading, character_of, listed
from job.log import log_line


@dataclass(frozen=True, slots=True)
class ReadingOptions:
    """The options by which a table is read and split."""

    delimiter: Annotated[
        str | None,
        setting(
            "JOB_DELIMITER",
            "Column separator: a character, tab, or space (any). Default: found.",
            metavar="CHAR",
        ),
    ] = None
    decimal: Annotated[
        str | None, setting("JOB_DECIMAL", "Decimal point: . or , Default: found.", metavar="CHAR")
    ] = None
    thousands: Annotated[
        str | None,
        setting(
            "JOB_THOUSANDS", "Thousands separator: a character, or space. Default: none.", metavar="CHAR"
        ),
    ] = None
    no_header: Annotated[
        bool, setting("JOB_NO_HEADER", "The table has no line of names: column_1 and so on.", "--no-header")
    ] = False
    features: Annotated[
        str | None,
        setting(
            "JOB_FEATURES",
            "Columns to train on; a name with a comma in double quotes. Default: all but the target.",
            metavar="A,B",
        ),
    ] = None
    drop: Annotated[
        str | None,
        setting(
            "JOB_DROP",
            "Columns to leave out; column_5 is the fifth, unless another has this name.",
            metavar="A,B",
        ),
    ] = None
    missing: Annotated[
        str | None,
        setting(
            "JOB_MISSING",
            "drop: leave out rows with a missing value; mean: put the training rows' mean in its place. "
            "Default: refuse the table.",
            metavar="HOW",
        ),
    ] = None
    constant: Annotated[
        str | None,
        setting(
            "JOB_CONSTANT",
            "drop: leave out features that are constant in the training rows. Default: refuse the table.",
            metavar="HOW",
        ),
    ] = None
    test_share: Annotated[
        float,
        setting("JOB_TEST_SHARE", "Share of rows to test on, the last; between 0 and 1.", metavar="SHARE"),
    ] = 0.2
    shuffle: Annotated[
        int | None,
        setting("JOB_SHUFFLE", "Shuffle the rows first, by this seed. Default: file order.", metavar="SEED"),
    ] = None

    def reading(self) -> Reading:
        """The options as they are stored. Raises DataError for one that has no meaning."""
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
        """The dataset; what is left out of the file, and each doubt, is logged. Raises DataError."""
        dataset = load(data or DEFAULT_DATA, target, self.reading())
        for line in (*dataset.notes, *(f"warning: {doubt}" for doubt in doubts(dataset))):
            log_line(f"{dataset.name}: {line}")
        return dataset
