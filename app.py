"""The explorer: `python app.py`, or a Hugging Face Space's entry point."""

from mrsampler.ui.page import launch

if __name__ == "__main__":
    launch()
