"""Reads figures back: what is drawn, and where it lies within its panel."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import dataclass
from xml.etree import ElementTree as ET

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SVG = "{http://www.w3.org/2000/svg}"
_STEP = re.compile(r"([Mhvz])([^Mhvz]*)")


@dataclass(frozen=True)
class Panel:
    """One slice of a figure; lengths in its own units, corners as (x, y)."""

    pixels: NDArray[np.uint8]
    size: tuple[float, float]
    scale: float
    outlines: dict[int, list[list[tuple[float, float]]]]
    numbers: list[int]
    texts: list[str]
    crosshair: str | None

    @property
    def pixel(self) -> tuple[float, float]:
        """Width and height of a pixel of the image."""
        rows, columns = self.pixels.shape
        return self.size[0] / columns, self.size[1] / rows

    def filled(self, number: int) -> NDArray[np.bool_]:
        """Return the pixels whose middle an outline encloses."""
        width, height = self.pixel
        corners = [
            [(x / width, y / height) for x, y in polygon] for polygon in self.outlines[number]
        ]
        return fill(corners, self.pixels.shape)


def fill(polygons: list[list[tuple[float, float]]], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Fill right-angled polygons: a pixel is in if an odd number of edges lie left of it."""
    inside = np.zeros(shape, dtype=bool)
    rows = np.arange(shape[0]) + 0.5
    for polygon in polygons:
        for (x0, y0), (x1, y1) in zip(polygon, polygon[1:] + polygon[:1], strict=True):
            if x0 == x1:
                crossed = (rows > min(y0, y1)) & (rows < max(y0, y1))
                inside[crossed] ^= np.arange(shape[1]) + 0.5 > x0
    return inside


def polygons_of(data: str) -> list[list[tuple[float, float]]]:
    """Read path data of right angles."""
    polygons: list[list[tuple[float, float]]] = []
    x = y = 0.0
    for step, value in _STEP.findall(data):
        if step == "M":
            x, y = (float(part) for part in value.split())
            polygons.append([])
        elif step == "h":
            x += float(value)
        elif step == "v":
            y += float(value)
        else:
            continue
        polygons[-1].append((round(x, 6), round(y, 6)))
    return polygons


def panels_of(figure: str) -> list[Panel]:
    """Read all panels of a figure."""
    root = ET.fromstring(figure)
    return [_panel(group) for group in root.iter(f"{SVG}g") if group.get("class") == "panel"]


def _panel(group: ET.Element) -> Panel:
    image = next(group.iter(f"{SVG}image"))
    frame = group[0]
    data = base64.b64decode(image.attrib["href"].split(",", 1)[1])
    outlines: dict[int, list[list[tuple[float, float]]]] = {}
    for path in frame.iter(f"{SVG}path"):
        number = int(path.get("data-lesion", "0"))
        outlines[number] = polygons_of(path.attrib["d"])
    numbers = [
        int(item.attrib["data-lesion"])
        for item in group.iter(f"{SVG}g")
        if "data-lesion" in item.attrib
    ]
    cross = [item for item in group if item.tag == f"{SVG}path"]
    return Panel(
        pixels=np.asarray(Image.open(io.BytesIO(data))),
        size=(float(image.attrib["width"]), float(image.attrib["height"])),
        scale=float(re.findall(r"scale\(([^)]*)\)", frame.attrib["transform"])[0]),
        outlines=outlines,
        numbers=numbers,
        texts=[text.text or "" for text in group[-1]],
        crosshair=cross[0].attrib["d"] if cross else None,
    )
