use std::io::Cursor;

use proptest::prelude::*;

use super::super::{CardValue, SkyMap, write_cube, write_map};
use super::*;

/// A FITS file of these header lines (without END) and data.
fn fits(lines: &[&str], data: &[u8]) -> Vec<u8> {
    let mut file = Vec::new();
    for line in lines.iter().chain(&["END"]) {
        file.extend(format!("{line:<80}").into_bytes());
    }
    file.resize(file.len().next_multiple_of(2880), b' ');
    file.extend(data);
    file.resize(file.len().next_multiple_of(2880), 0);
    file
}

/// A header of a primary image of this shape, with the axis types.
fn header(bitpix: i32, axes: &[(usize, &str)], more: &[&str]) -> Vec<String> {
    let mut lines = vec![
        "SIMPLE  =                    T".to_owned(),
        format!("BITPIX  = {bitpix:>20}"),
        format!("NAXIS   = {:>20}", axes.len()),
    ];
    for (i, (length, ctype)) in axes.iter().enumerate() {
        lines.push(format!("NAXIS{}  = {length:>20}", i + 1));
        lines.push(format!("CTYPE{}  = '{ctype:<8}'", i + 1));
    }
    lines.extend(more.iter().map(|&line| line.to_owned()));
    lines
}

fn file(bitpix: i32, axes: &[(usize, &str)], more: &[&str], data: &[u8]) -> Vec<u8> {
    let lines = header(bitpix, axes, more);
    fits(&lines.iter().map(String::as_str).collect::<Vec<_>>(), data)
}

fn reals(n: usize) -> Vec<u8> {
    (0..n).flat_map(|i| (i as f32).to_be_bytes()).collect()
}

const SKY_FIRST: [(usize, &str); 3] = [(3, "GLON-CAR"), (2, "GLAT-CAR"), (4, "VRAD")];

fn open(bytes: &[u8]) -> Result<Cube, CubeError> {
    Cube::read(Cursor::new(bytes))
}

/// The tiny cube that the tests of damage start from.
fn small() -> Vec<u8> {
    let more = ["CDELT3  = 100.0", "CRVAL3  = 5000", "CRPIX3  = 2.0", "BUNIT   = 'K'"];
    file(-32, &SKY_FIRST, &more, &reals(24))
}

#[test]
fn spectra_are_rows_and_x_runs_fastest() {
    let cube = open(&small()).unwrap();
    assert_eq!((cube.header.nx, cube.header.ny), (3, 2));
    assert_eq!(cube.header.unit, "K");
    assert_eq!(
        cube.header.axis,
        Axis { start: 4900.0, step: 100.0, channels: 4, unit: "m/s".to_owned() }
    );
    // Pixel (x, y) = (1, 1) is row 4; its channels lie a plane of six pixels apart.
    assert_eq!(cube.header.pixel(4), (1, 1));
    assert_eq!(cube.spectra[16..20], [4.0, 10.0, 16.0, 22.0]);
}

#[test]
fn axes_may_stand_in_any_order_and_degenerate_ones_anywhere() {
    let value = |x: usize, y: usize, c: usize| (100 * y + 10 * x + c) as f32;
    let orders: [&[&str]; 8] = [
        &["x", "y", "c"],
        &["x", "c", "y"],
        &["c", "x", "y"],
        &["x", "y", "s", "c"],
        &["s", "c", "x", "y"],
        &["x", "s", "c", "y"],
        &["c", "s", "x", "y"],
        &["s", "x", "y", "c"],
    ];
    for (nx, ny) in [(3, 2), (1, 5), (5, 1), (1, 1), (4, 4)] {
        for order in orders {
            let axes: Vec<(usize, &str)> = order
                .iter()
                .map(|&name| match name {
                    "x" => (nx, "RA---SIN"),
                    "y" => (ny, "DEC--SIN"),
                    "c" => (7, "freq-lsr"),
                    _ => (1, "STOKES"),
                })
                .collect();
            let total: usize = axes.iter().map(|a| a.0).product();
            let mut data = Vec::new();
            for mut i in 0..total {
                let mut at = [0; 3];
                for (&name, (length, _)) in order.iter().zip(&axes) {
                    if let Some(k) = ["x", "y", "c"].iter().position(|&k| k == name) {
                        at[k] = i % length;
                    }
                    i /= length;
                }
                data.extend(value(at[0], at[1], at[2]).to_be_bytes());
            }
            let bytes = file(-32, &axes, &["CDELT1  = 1.0"], &data);
            let mut reader = CubeReader::open(Cursor::new(&bytes)).unwrap();
            assert_eq!((reader.header().nx, reader.header().ny), (nx, ny), "{order:?}");
            let all = reader.rows(0..nx * ny).unwrap();
            for (row, spectrum) in all.chunks(7).enumerate() {
                let expected: Vec<f32> = (0..7).map(|c| value(row % nx, row / nx, c)).collect();
                assert_eq!(spectrum, expected, "{order:?} {nx} {ny}");
            }
            for start in 0..nx * ny {
                for end in start..=nx * ny {
                    assert_eq!(reader.rows(start..end).unwrap(), all[7 * start..7 * end]);
                }
            }
        }
    }
}

#[test]
fn integers_are_scaled_and_blanks_are_missing() {
    let axes = [(1, "RA"), (1, "DEC"), (3, "VELO-LSR")];
    let more = ["BSCALE  = 0.5", "BZERO   = 10", "BLANK   = -1"];
    let values: [i64; 3] = [4, -1, 7];
    let bytes = |width: usize| -> Vec<u8> {
        values.iter().flat_map(|v| v.to_be_bytes()[8 - width..].to_vec()).collect()
    };
    for (bitpix, width) in [(16, 2), (32, 4), (64, 8)] {
        let spectra = open(&file(bitpix, &axes, &more, &bytes(width))).unwrap().spectra;
        assert_eq!((spectra[0], spectra[2]), (12.0, 13.5), "BITPIX {bitpix}");
        assert!(spectra[1].is_nan(), "BITPIX {bitpix}");
    }
    let more = ["BLANK   = 255"];
    let spectra = open(&file(8, &axes, &more, &[200, 255, 3])).unwrap().spectra;
    assert!(spectra[0].to_bits() == 200.0_f32.to_bits() && spectra[1].is_nan());
    let reals: Vec<u8> =
        [1.5, f64::NAN, f64::INFINITY].iter().flat_map(|v| v.to_be_bytes()).collect();
    let spectra = open(&file(-64, &axes, &[], &reals)).unwrap().spectra;
    assert!(spectra[0].to_bits() == 1.5_f32.to_bits() && spectra[1..].iter().all(|v| v.is_nan()));
}

#[test]
fn the_spectral_axis_follows_its_keywords() {
    let axis = |ctype: &str, more: &[&str]| {
        let axes = [(3, "GLON-CAR"), (2, "GLAT-CAR"), (4, ctype)];
        open(&file(-32, &axes, more, &reals(24))).map(|cube| cube.header.axis)
    };
    let frequency = axis("FREQ", &["CRVAL3  = 1.1E11", "CRPIX3  = 1", "CDELT3  = -1.0D6"]).unwrap();
    assert_eq!((frequency.start, frequency.step), (1.1e11, -1e6));
    assert_eq!(frequency.unit, "Hz");
    let matrix = axis("VOPT", &["CD3_3   = 250.0", "CDELT3  = 7.0", "CUNIT3  = 'KM/S'"]).unwrap();
    assert_eq!((matrix.start, matrix.step), (250.0, 250.0));
    assert_eq!(matrix.unit, "km/s");
    let rotated = axis("VRAD", &["PC3_3   = 2.0", "CDELT3  = 7.0"]).unwrap();
    assert_eq!((rotated.start, rotated.step), (14.0, 14.0));
    let plain = axis("VRAD", &[]).unwrap();
    assert_eq!((plain.start, plain.step), (1.0, 1.0));

    let error = |ctype, more: &[&str]| axis(ctype, more).unwrap_err();
    assert!(matches!(error("VRAD", &["CDELT3  = 0.0"]), CubeError::Step { axis: 3 }));
    assert!(matches!(error("VRAD", &["CD1_1   = 1.0", "CD3_1   = 1.0"]), CubeError::Tilted { .. }));
    assert!(matches!(error("VRAD", &["PC3_1   = 0.5"]), CubeError::Tilted { .. }));
    assert!(matches!(error("FREQ-LOG", &[]), CubeError::NonLinear { .. }));
    assert!(matches!(error("VOPT-F2W", &[]), CubeError::NonLinear { .. }));
    assert!(matches!(error("VRAD", &["CDELT3  = 'wide'"]), CubeError::Value { .. }));
    let message = error("STOKES", &[]).to_string();
    assert!(message.contains("`GLON-CAR`, `GLAT-CAR`, `STOKES`"), "{message}");
}

#[test]
fn a_cube_may_stand_in_an_extension() {
    let mut bytes = fits(&["SIMPLE  =                    T", "BITPIX  = 8", "NAXIS   = 0"], &[]);
    let mut lines = header(-32, &SKY_FIRST, &["PCOUNT  = 0", "GCOUNT  = 1"]);
    lines[0] = "XTENSION= 'IMAGE   '".to_owned();
    bytes.extend(fits(&lines.iter().map(String::as_str).collect::<Vec<_>>(), &reals(24)));
    let cube = open(&bytes).unwrap();
    assert_eq!(cube.spectra[..3], [0.0, 6.0, 12.0]);
}

#[test]
fn what_is_not_a_cube_is_refused_with_the_reason() {
    assert!(matches!(open(b""), Err(CubeError::NotFits)));
    assert!(matches!(open(b"PK\x03\x04 not at all"), Err(CubeError::NotFits)));
    assert!(matches!(open(&[0x1f, 0x8b, 8, 0]), Err(CubeError::Gzip)));
    let flat = file(-32, &[(4, "RA"), (4, "DEC")], &[], &reals(16));
    let message = open(&flat).unwrap_err().to_string();
    assert!(message.contains("an image of 4 × 4"), "{message}");
    let empty = file(-32, &[(4, "RA"), (4, "DEC"), (0, "VRAD")], &[], &[]);
    assert!(matches!(open(&empty), Err(CubeError::EmptyAxis { axis: 3 })));
    let four = file(-32, &[(2, "RA"), (2, "DEC"), (2, "VRAD"), (2, "STOKES")], &[], &reals(16));
    assert!(matches!(open(&four), Err(CubeError::TooManyAxes { count: 3, .. })));
    let mut rows = CubeReader::open(Cursor::new(small())).unwrap();
    assert!(matches!(rows.rows(4..7), Err(CubeError::Rows { rows: 6, .. })));
}

#[test]
fn a_truncated_file_is_known_before_anything_is_allocated() {
    let whole = small();
    assert!(matches!(
        open(&whole[..2880 + 90]),
        Err(CubeError::Truncated { hdu: 0, expected: 96, found: 90 })
    ));
    assert!(matches!(open(&whole[..1000]), Err(CubeError::EndlessHeader { hdu: 0 })));
    // Padding after the data may be missing: nothing is lost with it.
    assert!(open(&whole[..2880 + 96]).is_ok());
    for (length, is_overflow) in [(1 << 20, false), (1 << 40, true), (i64::MAX as usize, true)] {
        let axes = [(length, "RA"), (length, "DEC"), (4, "VRAD")];
        let error = open(&file(-32, &axes, &[], &[])).unwrap_err();
        assert_eq!(matches!(error, CubeError::Size { .. }), is_overflow, "{error}");
        assert_eq!(matches!(error, CubeError::Truncated { .. }), !is_overflow, "{error}");
    }
    let lines = ["SIMPLE  =                    T", "BITPIX  = 8", "NAXIS   = 999"];
    assert!(matches!(open(&fits(&lines, &[])), Err(CubeError::Missing { .. })));
    let lines = ["SIMPLE  =                    T", "BITPIX  = 8", "NAXIS   = -1"];
    assert!(matches!(open(&fits(&lines, &[])), Err(CubeError::Value { .. })));
}

#[test]
fn a_written_cube_reads_back() {
    let more = [
        "CDELT3  = 100.0",
        "CRVAL3  = 5000.1",
        "CRPIX3  = 2.5",
        "CRVAL1  = 23.25",
        "CUNIT1  = 'deg'",
        "PC1_2   = 0.25",
        "OBJECT  = 'Cloud 7'",
    ];
    let mut cube = open(&file(-32, &SKY_FIRST, &more, &reals(24))).unwrap();
    cube.spectra[3] = f32::NAN;
    let mut bytes = Vec::new();
    write_cube(&cube, &mut bytes).unwrap();
    let back = open(&bytes).unwrap();
    assert_eq!(back.header, cube.header);
    let bits = |cube: &Cube| cube.spectra.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&back), bits(&cube));
    cube.spectra.pop();
    assert!(matches!(write_cube(&cube, &mut Vec::new()), Err(CubeError::Shape { .. })));
}

#[test]
fn a_map_keeps_the_sky_and_numbers_its_axes_anew() {
    let axes = [(4, "VRAD"), (3, "RA---TAN"), (2, "DEC--TAN")];
    let more =
        ["CRVAL2  = 83.8", "CDELT3  = 0.01", "PC2_3   = 0.1", "CDELT1  = 100", "BMAJ    = 0.02"];
    let sky = open(&file(-32, &axes, &more, &reals(24))).unwrap().header.sky;
    let value = |keyword: &str| sky.cards.iter().find(|(k, _)| k == keyword).map(|(_, v)| v);
    assert_eq!(value("CTYPE1"), Some(&CardValue::Text("RA---TAN".to_owned())));
    assert_eq!(value("CRVAL1"), Some(&CardValue::Real(83.8)));
    assert_eq!(value("CDELT2"), Some(&CardValue::Real(0.01)));
    assert_eq!(value("PC1_2"), Some(&CardValue::Real(0.1)));
    assert_eq!(value("CDELT1"), None);
    let map =
        SkyMap { sky: &sky, nx: 3, ny: 2, values: &[1.0; 6], unit: "K km/s", quantity: "integral" };
    let mut bytes = Vec::new();
    write_map(&map, &mut bytes).unwrap();
    assert_eq!(bytes.len(), 2 * 2880);
    let text = String::from_utf8_lossy(&bytes[..2880]).into_owned();
    assert!(text.contains("BUNIT   = 'K km/s  '"), "{text}");
    assert_eq!(bytes[2880..2884], 1.0_f32.to_be_bytes());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_damage_makes_the_reader_panic(
        flips in prop::collection::vec((0_usize..2_976, any::<u8>()), 0..12),
        digits in prop::collection::vec((0_usize..2_880, b'0'..=b'9'), 0..4),
        length in 0_usize..=5_760,
    ) {
        let mut bytes = small();
        for (at, byte) in flips.into_iter().chain(digits) {
            bytes[at] = byte;
        }
        bytes.truncate(if length < 4_000 { bytes.len() } else { length });
        if let Ok(cube) = open(&bytes) {
            prop_assert_eq!(cube.spectra.len(), cube.header.rows() * cube.header.axis.channels);
            prop_assert!(cube.header.axis.step != 0.0);
        }
    }

    #[test]
    fn no_truncation_goes_unnoticed(length in 0_usize..2_976) {
        prop_assert!(open(&small()[..length]).is_err());
    }
}
