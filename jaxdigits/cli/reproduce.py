"""`jaxdigits reproduce`: the results of the posts beside ours."""

from jaxdigits.cli.options import DataOptions, Folder, Json, Name


def reproduce(
    rows: tuple[str, ...],
    data: DataOptions,
    seeds: int = 10,
    dataset: Name = "auto",
    letters: Name = "emnist/letters",
    out: Folder = None,
    overwrite: bool = False,
    json: Json = False,
) -> None:
    """Measure the results of the posts again, with error bars, beside what was posted.

    Args:
        rows: such as A4 B5. Default: all.
        seeds: how often to repeat what has chance in it; at most 4 times where training takes
            minutes.
        dataset: a name that `jaxdigits data list` shows, or a folder of images; `auto` is mnist, or
            digits without it.
        letters: the dataset for the rows that are about letters.
        out: a folder for the report and its pictures. Default: it is only printed.
        overwrite: replace an older report in that folder, when the new one is complete.
    """
    from jaxdigits.environment import prepare_jax

    prepare_jax()
    from jaxdigits.cli.output import note_counts
    from jaxdigits.cli.output import report as print_report
    from jaxdigits.data import Fingerprint
    from jaxdigits.files import absolute
    from jaxdigits.posts import report
    from jaxdigits.posts.reproduce import REPORT_FILES, reproduce

    document = reproduce(
        rows,
        seeds=seeds,
        dataset=dataset,
        letters=letters,
        folder=out,
        overwrite=overwrite,
        progress=True,
        **data.folders,
    )
    for found in document["data"].values():
        note_counts(Fingerprint(**found))
    text = report.text(document)
    if out is not None:
        text += f"\n\nwritten to {absolute(out)}: {', '.join(REPORT_FILES)} and pictures"
    print_report(text, document, as_json=json)
