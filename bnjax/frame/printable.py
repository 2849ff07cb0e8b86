"""What files and command lines say, made safe for a terminal."""

LONGEST = 2000  # characters


def printable(text: object, longest: int = LONGEST) -> str:
    r"""A text without characters that a terminal obeys instead of showing.

    Control characters, line breaks, marks that turn the direction of writing and halves of
    surrogate pairs become their escapes, so that nobody's file moves the cursor or hides a line.

    Args:
      text: anything that has a text.
      longest: characters; what is beyond them becomes `…`.

    Example:
      >>> printable("runs/\x1b[31mred")
      'runs/\\x1b[31mred'
    """
    whole = str(text)
    kept = whole[:longest]
    escaped = (
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in kept
    )
    return "".join(escaped) + ("…" if len(whole) > longest else "")
