"""What a hand does with a mouse."""

from playwright.sync_api import Locator


def drag(over: Locator, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Presses at one place of an element and lets go at another: parts of its width and of its height.

    Waits until the element stands still: a plot is made anew when its data has changed.
    """
    over.hover()
    box, mouse = over.bounding_box(), over.page.mouse
    (from_x, from_y), (to_x, to_y) = [
        (box["x"] + box["width"] * across, box["y"] + box["height"] * down) for across, down in (start, end)
    ]
    mouse.move(from_x, from_y)
    mouse.down()
    mouse.move(to_x, to_y, steps=5)
    mouse.up()
