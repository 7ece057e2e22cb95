"""How the page looks: Gradio's base theme with its boxes turned off, and parts/page.css."""

from __future__ import annotations

import gradio as gr

from mrsampler.ui.parts.components import MODULES, served, text

_SANS = [
    "ui-sans-serif",
    "system-ui",
    "-apple-system",
    "Segoe UI",
    "Roboto",
    "Helvetica Neue",
    "Arial",
    "sans-serif",
]
_MONO = ["ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "Liberation Mono", "monospace"]
_BLUES = gr.themes.Color(
    "#e6f2fa",
    "#cce5f5",
    "#99cbeb",
    "#66b1e0",
    "#3397d6",
    "#0072B2",
    "#0072B2",
    "#005f94",
    "#004c77",
    "#003959",
    "#00263b",
)


def theme() -> gr.themes.Base:
    """System fonts, few borders, the MR Sampler's blue; light and dark."""
    both = {
        "block_background_fill": "transparent",
        "block_border_width": "0px",
        "block_shadow": "none",
        "panel_background_fill": "transparent",
        "input_border_width": "0px",
        "input_shadow": "none",
        "input_shadow_focus": "none",
        "button_primary_background_fill": "#0072B2",
        "button_primary_background_fill_hover": "#005f94",
        "checkbox_label_background_fill": "transparent",
        "checkbox_label_border_width": "0px",
    }
    settings = both | {f"{name}_dark": value for name, value in both.items()}
    return gr.themes.Base(
        primary_hue=_BLUES,
        neutral_hue="slate",
        font=_SANS,
        font_mono=_MONO,
        text_size=gr.themes.sizes.text_md,
        spacing_size=gr.themes.sizes.spacing_md,
        radius_size=gr.themes.sizes.radius_md,
    ).set(
        body_background_fill="#ffffff",
        body_background_fill_dark="#14161a",
        background_fill_primary_dark="#14161a",
        background_fill_secondary="#f3f4f6",
        background_fill_secondary_dark="#1f2228",
        input_background_fill="#f3f4f6",
        input_background_fill_dark="#1f2228",
        body_text_color="#17191d",
        body_text_color_dark="#eceef1",
        body_text_color_subdued="#5a6270",
        body_text_color_subdued_dark="#a3abb8",
        block_padding="0px",
        block_radius="0px",
        block_label_background_fill="transparent",
        block_label_border_width="0px",
        block_title_text_weight="500",
        block_title_text_color="#17191d",
        block_title_text_color_dark="#eceef1",
        block_info_text_size="12px",
        form_gap_width="0px",
        layout_gap="16px",
        panel_border_width="0px",
        button_primary_text_color="#ffffff",
        checkbox_label_padding="0",
        slider_color="#0072B2",
        slider_color_dark="#56B4E9",
        **settings,
    )


def head(first: str = "") -> str:
    """The page's own style sheet, in <head>: gradio rewrites what is given to it as css.

    `first` is a URL that the page fetches as soon as it runs: the browser begins at once.
    """
    early = [f'<link rel="preload" href="{first}" as="fetch" crossorigin>'] if first else []
    early += [f'<link rel="modulepreload" href="{served(module)}">' for module in MODULES]
    return f"{''.join(early)}<style>{text('parts/page.css')}</style>"
