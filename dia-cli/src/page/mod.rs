//! Pages to look at in a browser: each is one file, without anything from elsewhere, and all share a frame, a style
//! and a way to blink pictures.

pub(crate) mod pair;
pub(crate) mod plot;
pub(crate) mod preview;

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use minijinja::Environment;
use minijinja::value::Serde;
use serde::Serialize;

use crate::fits;

/// What all pages share: their frame, and a row of pictures.
const SHARED: [(&str, &str); 2] =
    [("base.html", include_str!("base.html")), ("pictures.html", include_str!("pictures.html"))];

/// A picture within a page.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Picture {
    name: &'static str,
    /// The PNG as the address of an image.
    data: String,
    /// Places to encircle, in parts of its width and height from its upper left corner.
    circles: Vec<(f64, f64)>,
}

impl Picture {
    /// Of the bytes of a PNG.
    pub(crate) fn new(name: &'static str, png: &[u8]) -> Self {
        let data = format!("data:image/png;base64,{}", BASE64_STANDARD.encode(png));
        Self { name, data, circles: Vec::new() }
    }
}

/// Makes a page of a template that extends base.html, and writes it whole or not at all.
pub(crate) fn write(path: &Path, template: &'static str, page: &impl Serialize) -> Result<()> {
    let mut environment = Environment::new();
    for (name, text) in SHARED.into_iter().chain([("page.html", template)]) {
        environment.add_template(name, text).context("the page's template is damaged")?;
    }
    let template = environment.get_template("page.html").context("no template")?;
    let html = template.render(Serde(page)).context("the page cannot be made")?;
    Ok(fits::write_atomically(path, |mut file| file.write_all(html.as_bytes()))?)
}
