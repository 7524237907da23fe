//! From a scene to a PNG.
//!
//! The drawing library's rasteriser loses the smooth edges of turned text. So text that reads
//! upwards is drawn level on a strip of its own, and the strip's pixels are turned.

use std::io::Cursor;

use kuva::backend::raster::RasterBackend;
use kuva::render::render::{Primitive, Scene, TextAnchor};

use super::error::FigureError;
use super::text;

/// Pixels, red, green and blue, row by row.
struct Picture {
    width: usize,
    height: usize,
    rgb: Vec<u8>,
}

/// One line of text that reads upwards.
struct Upward<'a> {
    x: f64,
    y: f64,
    content: &'a str,
    size: u32,
}

/// Draws the scene with `scale` pixels to each of its own.
///
/// Turned text is taken to read upwards, black, centred: so the sheet writes it.
pub(super) fn png(scene: &Scene, scale: f32) -> Result<Vec<u8>, FigureError> {
    let mut level = Scene::new(scene.width, scene.height);
    let mut upward = Vec::new();
    for primitive in &scene.elements {
        match primitive {
            Primitive::Text { x, y, content, size, rotate: Some(_), .. } => {
                upward.push(Upward { x: *x, y: *y, content, size: *size });
            }
            other => level.add(other.clone()),
        }
    }
    let mut picture = Picture::draw(&level, scale)?;
    if !upward.is_empty() {
        picture.write_upward(&upward, scale)?;
    }
    picture.encode(scale)
}

impl Picture {
    fn draw(scene: &Scene, scale: f32) -> Result<Self, FigureError> {
        let file = RasterBackend::new()
            .with_scale(scale)
            .render_scene(scene)
            .map_err(FigureError::Draw)?;
        let mut reader = png::Decoder::new(Cursor::new(file)).read_info()?;
        let size = reader.output_buffer_size();
        let mut pixels = vec![0; size.ok_or_else(|| FigureError::Draw("too large".to_string()))?];
        let info = reader.next_frame(&mut pixels)?;
        // The rasteriser's pixels are opaque: their fourth byte says nothing.
        let samples = info.color_type.samples();
        let rgb = pixels.chunks_exact(samples).flat_map(|p| [p[0], p[1], p[2]]);
        Ok(Self { width: info.width as usize, height: info.height as usize, rgb: rgb.collect() })
    }

    /// Draws the lines level, one below the other, and darkens this picture by them, turned.
    fn write_upward(&mut self, lines: &[Upward], scale: f32) -> Result<(), FigureError> {
        let widths = lines.iter().map(|l| text::width(l.content, l.size));
        let width = 1.1 * widths.fold(0.0, f64::max) + 8.0;
        let heights: Vec<f64> = lines.iter().map(|l| 2.0 * f64::from(l.size)).collect();
        let pixel = |v: f64| libm::round(v * f64::from(scale)) as i64;
        // In whole pixels, so that the letters stand as they would in place.
        let middle = pixel(0.5 * width);
        let baselines: Vec<i64> = heights
            .iter()
            .scan(0.0, |top, height| {
                *top += height;
                Some(pixel(*top - 0.3 * height))
            })
            .collect();
        let mut strip = Scene::new(width, heights.iter().sum());
        for (line, baseline) in lines.iter().zip(&baselines) {
            // The rasteriser cuts a baseline's fraction off: a little more than whole is whole.
            strip.add(Primitive::Text {
                x: middle as f64 / f64::from(scale),
                y: (*baseline as f64 + 0.1) / f64::from(scale),
                content: line.content.to_string(),
                size: line.size,
                anchor: TextAnchor::Middle,
                rotate: None,
                bold: false,
                color: None,
            });
        }
        let strip = Self::draw(&strip, scale)?;

        for ((line, baseline), height) in lines.iter().zip(baselines).zip(heights) {
            let (x0, y0) = (pixel(line.x), pixel(line.y));
            let rows = baseline - pixel(0.7 * height) + 1..baseline + pixel(0.3 * height);
            for v in rows.start.max(0)..rows.end.min(strip.height as i64) {
                for u in 0..strip.width as i64 {
                    let ink = strip.rgb[(v as usize * strip.width + u as usize) * 3];
                    if ink < 255 {
                        self.darken(x0 + v - baseline, y0 - (u - middle), ink);
                    }
                }
            }
        }
        Ok(())
    }

    fn darken(&mut self, x: i64, y: i64, ink: u8) {
        let inside = x >= 0 && y >= 0 && x < self.width as i64 && y < self.height as i64;
        if inside {
            let at = (y as usize * self.width + x as usize) * 3;
            for value in &mut self.rgb[at..at + 3] {
                *value = (u16::from(*value) * u16::from(ink) / 255) as u8;
            }
        }
    }

    fn encode(&self, scale: f32) -> Result<Vec<u8>, FigureError> {
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, self.width as u32, self.height as u32);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        let per_metre = libm::round(f64::from(scale) * 96.0 / 0.0254) as u32;
        encoder.set_pixel_dims(Some(png::PixelDimensions {
            xppu: per_metre,
            yppu: per_metre,
            unit: png::Unit::Meter,
        }));
        let mut writer = encoder.write_header()?;
        writer.write_image_data(&self.rgb)?;
        writer.finish()?;
        Ok(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(rotate: Option<f64>, x: f64, y: f64) -> Primitive {
        Primitive::Text {
            x,
            y,
            content: "Lab (K)".to_string(),
            size: 10,
            anchor: TextAnchor::Middle,
            rotate,
            bold: false,
            color: None,
        }
    }

    fn drawn(rotate: Option<f64>) -> Picture {
        let mut scene = Scene::new(100.0, 100.0);
        scene.add(text(rotate, 50.0, 50.0));
        let file = png(&scene, 2.0).unwrap();
        let mut reader = png::Decoder::new(Cursor::new(file)).read_info().unwrap();
        let mut rgb = vec![0; reader.output_buffer_size().unwrap()];
        reader.next_frame(&mut rgb).unwrap();
        assert_eq!(reader.info().pixel_dims.unwrap().xppu, 7559);
        Picture { width: 200, height: 200, rgb }
    }

    #[test]
    fn upward_text_is_level_text_turned() {
        let (level, upward) = (drawn(None), drawn(Some(-90.0)));
        let ink = |p: &Picture, x: usize, y: usize| p.rgb[(y * p.width + x) * 3];
        let mut dark = 0;
        for y in 1..200 {
            for x in 1..200 {
                let turned = ink(&upward, y, 200 - x);
                assert_eq!(ink(&level, x, y), turned, "{x} {y}");
                dark += usize::from(turned < 128);
            }
        }
        assert!(dark > 50);
    }

    #[test]
    fn text_beyond_the_edge_is_cut() {
        let mut scene = Scene::new(20.0, 20.0);
        scene.add(text(Some(-90.0), 1.0, 19.0));
        assert!(png(&scene, 1.5).is_ok());
    }
}
