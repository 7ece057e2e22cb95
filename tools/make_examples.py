"""Makes assets/examples from the photos that scikit-image and scikit-learn ship.

    python tools/make_examples.py

Needs requirements-dev.txt. Writes the pictures, no side over 384 pixels, and examples.json.
"""

import json
from pathlib import Path

import numpy as np
import skimage
from PIL import Image
from sklearn.datasets import load_sample_image

OUT = Path(__file__).parents[1] / "assets" / "examples"
SIDE = 384

CHINA = (
    "danielbuechele, flickr.com/photos/danielbuechele/6061409035, through scikit-learn",
    "CC BY 2.0",
)
DAHLIA = ("vultilion, flickr.com/photos/vultilion/6056698931, through scikit-learn", "CC BY 2.0")
CHELSEA = ("Stefan van der Walt, through scikit-image", "CC0")
COFFEE = ("Rachel Michetti, courtesy of Pikolo Espresso Bar, through scikit-image", "CC0")
NASA = ("NASA Great Images, through scikit-image", "public domain")
ROCKET = (
    "SpaceX, flickr.com/photos/spacexphotos/16511594820, through scikit-image",
    "public domain",
)

# title, task, severity, picture, crop (left, top, right, bottom) as shares or None, credit
PHOTOS = [
    ("A coffee cup", "rainy", 0.5, "coffee", None, COFFEE),
    ("Chelsea the cat", "noisy", 0.5, "chelsea", None, CHELSEA),
    ("A Chinese palace", "hazy", 0.5, "china.jpg", None, CHINA),
    ("An astronaut: Eileen Collins", "uncompleted", 0.5, "astronaut", None, NASA),
    ("A cup and its spoon", "low-light", 0.5, "coffee", (0.2, 0.2, 1, 1), COFFEE),
    ("A rocket's launch", "snowy", 0.5, "rocket", None, ROCKET),
    ("A dahlia", "shadowed", 0.6, "flower.jpg", None, DAHLIA),
    ("The cat's eyes", "raindrop", 0.5, "chelsea", (0.2, 0.1, 0.75, 0.75), CHELSEA),
    ("Roofs of the palace", "motion-blurry", 0.4, "china.jpg", (0.3, 0.15, 0.95, 0.85), CHINA),
    ("An astronaut's smile", "jpeg-compressed", 0.8, "astronaut", (0.2, 0, 0.75, 0.6), NASA),
]


def picture(name: str) -> Image.Image:
    """A photo of one of the two libraries, as RGB."""
    if name.endswith(".jpg"):
        return Image.fromarray(load_sample_image(name))
    pixels = getattr(skimage.data, name)()
    return Image.fromarray(np.asarray(pixels)).convert("RGB")


def main() -> None:
    """Writes the pictures and their list."""
    OUT.mkdir(exist_ok=True)
    listing = []
    for title, task, severity, name, crop, (source, licence) in PHOTOS:
        image = picture(name)
        if crop:
            image = image.crop([round(s * n) for s, n in zip(crop, image.size * 2, strict=True)])
        image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
        file = f"{task}.jpg"
        image.save(OUT / file, quality=93, subsampling=0)
        listing.append(
            {
                "file": file,
                "title": title,
                "task": task,
                "severity": severity,
                "damaged": False,
                "source": source,
                "licence": licence,
            }
        )
    (OUT / "examples.json").write_text(json.dumps(listing, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
