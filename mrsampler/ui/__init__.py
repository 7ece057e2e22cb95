"""The explorer: a Gradio page over the library. Nothing below imports from here."""

from mrsampler.extras import need

for package in ("gradio", "plotly", "orjson", "threadpoolctl"):
    need("page", package)
