"""Names of files that are legal and awkward."""

AWKWARD_NAMES = (
    "with space.png",
    "100%.png",
    "%20.png",
    "plus+and&and=.png",
    "hash#tag.png",
    "question?.png",
    "[brackets].png",
    "a*.png",
    "{braces}.png",
    "quotes'\".png",
    "back\\slash.png",
    "line\nbreak.png",
    "carriage\rreturn.png",
    "tab\t.png",
    "déjà-vu-数字-🙂.png",
    "e\u0301.png",
    ".hidden.png",
    "-dash.png",
    "no_ending",
)
