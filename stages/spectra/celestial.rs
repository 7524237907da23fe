//! From the pixels of a sky grid to coordinates on the sky.
//!
//! Formulae and defaults are those of Calabretta & Greisen (2002, A&A 395, 1077), whose equations are named.

use super::{CardValue, SkyGrid};

const RADIANS: f64 = std::f64::consts::PI / 180.0;

/// A sky grid whose pixels have a longitude and a latitude.
#[derive(Debug, Clone, PartialEq)]
pub struct Celestial {
    /// What the longitude is called in FITS: `RA`, `GLON`, …
    pub longitude: String,
    /// What the latitude is called in FITS: `DEC`, `GLAT`, …
    pub latitude: String,
    /// Whether the longitude is that of the second axis.
    swapped: bool,
    reference: [f64; 2],
    /// Degrees for a pixel, from an axis (column) to an axis (row).
    matrix: [[f64; 2]; 2],
    projection: Projection,
    /// The coordinates of the reference point, in degrees.
    centre: [f64; 2],
    pole: Pole,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Projection {
    Gnomonic,
    Orthographic,
    Equidistant,
    EqualArea,
    Stereographic,
    PlateCarree,
    Sinusoidal,
    /// Sinusoidal about the reference point, as AIPS has it: not a rotation of the sphere.
    Global,
}

/// The native pole: its celestial coordinates and the native longitude of the celestial pole, in degrees.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Pole {
    longitude: f64,
    latitude: f64,
    native: f64,
}

impl Celestial {
    /// Reads the cards of a grid. `None` where its axes are not celestial, or in a projection that isn't known here:
    /// known are TAN, SIN (without slant), ARC, ZEA, STG, CAR, SFL and GLS.
    pub fn of(sky: &SkyGrid) -> Option<Self> {
        let value = |keyword: &str| {
            sky.cards.iter().find(|(name, _)| name == keyword).map(|(_, value)| value)
        };
        let text = |keyword: &str| match value(keyword) {
            Some(CardValue::Text(text)) => Some(text.to_ascii_uppercase()),
            _ => None,
        };
        let real = |keyword: &str| match value(keyword) {
            Some(CardValue::Real(x)) => Some(*x),
            Some(CardValue::Integer(n)) => Some(*n as f64),
            _ => None,
        };
        let types = [text("CTYPE1")?, text("CTYPE2")?];
        let swapped = is_latitude(name(&types[0]));
        let (longitude, latitude) = if swapped { (1, 0) } else { (0, 1) };
        if !is_longitude(name(&types[longitude])) || !is_latitude(name(&types[latitude])) {
            return None;
        }
        if (1..=2).any(|axis| text(&format!("CUNIT{axis}")).is_some_and(|unit| unit != "DEG")) {
            return None;
        }
        let codes = types.each_ref().map(|kind| kind.rsplit('-').next().unwrap_or(""));
        if codes[0] != codes[1] || sky.cards.iter().any(|(keyword, v)| is_parameter(keyword, v)) {
            return None;
        }
        let projection = match codes[0] {
            "TAN" => Projection::Gnomonic,
            "SIN" => Projection::Orthographic,
            "ARC" => Projection::Equidistant,
            "ZEA" => Projection::EqualArea,
            "STG" => Projection::Stereographic,
            "CAR" => Projection::PlateCarree,
            "SFL" => Projection::Sinusoidal,
            "GLS" => Projection::Global,
            _ => return None,
        };

        let has_cd = super::spectral_grid::has_cd(&sky.cards);
        let step = [1, 2].map(|axis| real(&format!("CDELT{axis}")).unwrap_or(1.0));
        let turn = real(&format!("CROTA{}", latitude + 1)).unwrap_or(0.0) * RADIANS;
        let has_pc = sky.cards.iter().any(|(keyword, _)| keyword.starts_with("PC"));
        let element = |i: usize, j: usize| {
            let at = |name| real(&format!("{name}{}_{}", i + 1, j + 1));
            if has_cd {
                at("CD").unwrap_or(0.0)
            } else if has_pc || turn == 0.0 {
                step[i] * at("PC").unwrap_or(if i == j { 1.0 } else { 0.0 })
            } else {
                // Equation 189: the step is that of the column.
                let sign = if i == longitude { -1.0 } else { 1.0 };
                step[j] * if i == j { libm::cos(turn) } else { sign * libm::sin(turn) }
            }
        };
        let matrix = [[element(0, 0), element(0, 1)], [element(1, 0), element(1, 1)]];
        let axis = |name: &str, axis: usize| real(&format!("{name}{}", axis + 1)).unwrap_or(0.0);
        let centre = [axis("CRVAL", longitude), axis("CRVAL", latitude)];
        Some(Self {
            longitude: name(&types[longitude]).to_owned(),
            latitude: name(&types[latitude]).to_owned(),
            swapped,
            reference: [axis("CRPIX", 0), axis("CRPIX", 1)],
            matrix,
            projection,
            centre,
            pole: Pole::of(projection, centre, real("LONPOLE"), real("LATPOLE"))?,
        })
    }

    /// Whether the longitude is that of the second axis.
    pub fn is_swapped(&self) -> bool {
        self.swapped
    }

    /// The longitude (0 to 360) and latitude, in degrees, of a point of the grid, pixels counted from 0. `None` where the
    /// projection has no sky.
    pub fn at(&self, x: f64, y: f64) -> Option<(f64, f64)> {
        let offset = [x + 1.0 - self.reference[0], y + 1.0 - self.reference[1]];
        let [[a, b], [c, d]] = self.matrix;
        let plane = [a * offset[0] + b * offset[1], c * offset[0] + d * offset[1]];
        let [x, y] = if self.swapped { [plane[1], plane[0]] } else { plane };
        if self.projection == Projection::Global {
            let latitude = self.centre[1] + y;
            let longitude = self.centre[0] + x / libm::cos(latitude * RADIANS);
            return Some((turned(longitude), latitude))
                .filter(|(_, latitude)| latitude.abs() <= 90.0);
        }
        let (longitude, latitude) = self.projection.native(x, y)?;
        Some(self.pole.celestial(longitude, latitude))
    }
}

/// The name of an axis type: `GLON` of `GLON-CAR`.
fn name(kind: &str) -> &str {
    kind.split('-').next().unwrap_or("")
}

fn is_longitude(name: &str) -> bool {
    name == "RA" || name.ends_with("LON")
}

fn is_latitude(name: &str) -> bool {
    name == "DEC" || name.ends_with("LAT")
}

/// Whether a card gives a projection a parameter other than 0.
fn is_parameter(keyword: &str, value: &CardValue) -> bool {
    let is_zero = matches!(value, CardValue::Integer(0)) || *value == CardValue::Real(0.0);
    keyword.starts_with("PV") && !is_zero
}

/// An angle between 0 and 360 degrees.
fn turned(degrees: f64) -> f64 {
    let rest = libm::fmod(degrees, 360.0);
    if rest < 0.0 { rest + 360.0 } else { rest }
}

impl Projection {
    fn is_zenithal(self) -> bool {
        use Projection::{EqualArea, Equidistant, Gnomonic, Orthographic, Stereographic};
        matches!(self, Gnomonic | Orthographic | Equidistant | EqualArea | Stereographic)
    }

    /// The native longitude and latitude of a point of the plane, all in degrees.
    fn native(self, x: f64, y: f64) -> Option<(f64, f64)> {
        // Equations 14 and 15: the radius in radians.
        let radius = (x * x + y * y).sqrt() * RADIANS;
        let zenithal = |latitude: f64| {
            let longitude = if radius == 0.0 { 0.0 } else { libm::atan2(x, -y) / RADIANS };
            Some((longitude, latitude / RADIANS))
        };
        let quarter = 0.5 * std::f64::consts::PI;
        match self {
            Self::Gnomonic => zenithal(libm::atan2(1.0, radius)),
            Self::Orthographic if radius <= 1.0 => zenithal(libm::acos(radius)),
            Self::Equidistant if radius <= 2.0 * quarter => zenithal(quarter - radius),
            Self::EqualArea if radius <= 2.0 => zenithal(quarter - 2.0 * libm::asin(0.5 * radius)),
            Self::Stereographic => zenithal(quarter - 2.0 * libm::atan(0.5 * radius)),
            Self::PlateCarree if y.abs() <= 90.0 => Some((x, y)),
            Self::Sinusoidal if y.abs() < 90.0 => Some((x / libm::cos(y * RADIANS), y)),
            _ => None,
        }
    }
}

impl Pole {
    /// Equations 8 to 10, with the special cases of section 2.4.
    fn of(
        projection: Projection,
        [longitude, latitude]: [f64; 2],
        native: Option<f64>,
        wanted: Option<f64>,
    ) -> Option<Self> {
        if projection.is_zenithal() {
            let native = native.unwrap_or(if latitude >= 90.0 { 0.0 } else { 180.0 });
            return Some(Self { longitude, latitude, native });
        }
        let native = native.unwrap_or(if latitude >= 0.0 { 0.0 } else { 180.0 });
        let (sine, cosine) = (libm::sin(native * RADIANS), libm::cos(native * RADIANS));
        // The reference point is at the native latitude 0.
        let base = libm::atan2(0.0, cosine) / RADIANS;
        let ratio = libm::sin(latitude * RADIANS) / (1.0 - sine * sine).sqrt();
        if !(-1.0 - 1e-12..=1.0 + 1e-12).contains(&ratio) {
            return None;
        }
        let apart = libm::acos(ratio.clamp(-1.0, 1.0)) / RADIANS;
        let wanted = wanted.unwrap_or(90.0);
        let valid = [base + apart, base - apart].into_iter().map(|latitude| {
            // An arc beyond the pole comes down on the other side of it.
            if latitude > 180.0 { latitude - 360.0 } else { latitude }
        });
        let nearest = valid
            .filter(|latitude| latitude.abs() <= 90.0 + 1e-9)
            .min_by(|a, b| (a - wanted).abs().total_cmp(&(b - wanted).abs()))?;
        let pole = nearest.clamp(-90.0, 90.0);
        let longitude = if latitude.abs() >= 90.0 {
            longitude
        } else if pole >= 90.0 - 1e-9 {
            longitude + native - 180.0
        } else if pole <= -90.0 + 1e-9 {
            longitude - native
        } else {
            let cosine = libm::cos(latitude * RADIANS);
            let (pole, latitude) = (pole * RADIANS, latitude * RADIANS);
            let across = sine / cosine;
            let along = -libm::sin(pole) * libm::sin(latitude) / (libm::cos(pole) * cosine);
            longitude - libm::atan2(across, along) / RADIANS
        };
        Some(Self { longitude, latitude: pole, native })
    }

    /// Equation 2.
    fn celestial(self, longitude: f64, latitude: f64) -> (f64, f64) {
        let (sin_pole, cos_pole) =
            (libm::sin(self.latitude * RADIANS), libm::cos(self.latitude * RADIANS));
        let (sine, cosine) = (libm::sin(latitude * RADIANS), libm::cos(latitude * RADIANS));
        let turn = (longitude - self.native) * RADIANS;
        let east = -cosine * libm::sin(turn);
        let north = sine * cos_pole - cosine * sin_pole * libm::cos(turn);
        let up = sine * sin_pole + cosine * cos_pole * libm::cos(turn);
        // By the arc tangent, since the arc sine is blunt near a pole.
        let latitude = libm::atan2(up, (east * east + north * north).sqrt());
        (turned(self.longitude + libm::atan2(east, north) / RADIANS), latitude / RADIANS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Case = ([&'static str; 2], [f64; 2], [f64; 2], [f64; 2], &'static [(&'static str, f64)]);

    fn grid((types, value, pixel, step, more): &Case) -> SkyGrid {
        let real = |keyword: &str, value: f64| (keyword.to_owned(), CardValue::Real(value));
        let mut cards = Vec::new();
        for i in 0..2 {
            let keyword = |name: &str| format!("{name}{}", i + 1);
            cards.push((keyword("CTYPE"), CardValue::Text(types[i].to_owned())));
            cards.push(real(&keyword("CRVAL"), value[i]));
            cards.push(real(&keyword("CRPIX"), pixel[i]));
            if step[i] != 0.0 {
                cards.push(real(&keyword("CDELT"), step[i]));
            }
        }
        cards.extend(more.iter().map(|(keyword, value)| real(keyword, *value)));
        SkyGrid { cards }
    }

    /// The coordinates of pixels (3, 7) and (20, −2), counted from 0, by wcslib 8 through astropy's `all_pix2world`.
    #[test]
    fn coordinates_are_those_of_wcslib() {
        let galactic = ["GLON-CAR", "GLAT-CAR"];
        let near = [10.5, 12.0];
        let fine = [-0.2, 0.2];
        let cases: [(Case, [[f64; 2]; 2]); 15] = [
            (
                (
                    galactic,
                    [0.0, 0.0],
                    [9_016.690_989_186, -45.138_212_712_4],
                    [-0.00615, 0.00615],
                    &[("LONPOLE", 0.0), ("LATPOLE", 90.0)],
                ),
                [
                    [55.428_049_583_493_895, 0.326_800_008_181_26],
                    [55.323_499_583_493_9, 0.271_450_008_181_26],
                ],
            ),
            (
                (galactic, [30.0, 0.0], [5.0, 4.0], [-0.006, 0.006], &[]),
                [[30.006, 0.024], [29.904, -0.03]],
            ),
            (
                (galactic, [30.0, 12.0], [5.0, 4.0], [-0.5, 0.5], &[]),
                [
                    [30.514_992_254_577_493, 13.999_532_809_144_362],
                    [21.898_567_619_729_988, 9.382_588_623_595_78],
                ],
            ),
            (
                (galactic, [30.0, -12.0], [5.0, 4.0], [-0.5, 0.5], &[]),
                [
                    [30.507_403_494_082_11, -9.999_539_693_479_349],
                    [21.747_376_026_593_734, -14.380_400_726_447_517],
                ],
            ),
            (
                (
                    ["RA---GLS", "DEC--GLS"],
                    [284.283_333_333_3, 2.175],
                    [3.423, 10.38],
                    [-0.0036, 0.0036],
                    &[],
                ),
                [[284.281_254_647_528_67, 2.166_432], [284.220_012_217_080_3, 2.134_032]],
            ),
            (
                (["RA---SFL", "DEC--SFL"], [84.0, 2.175], [3.423, 10.38], [-0.36, 0.36], &[]),
                [
                    [83.792_225_013_871_93, 1.318_185_704_499_919_7],
                    [77.668_720_979_090_84, -1.935_088_857_628_851_2],
                ],
            ),
            (
                (["RA---SFL", "DEC--SFL"], [84.0, -62.175], [3.423, 10.38], [-0.36, 0.36], &[]),
                [
                    [83.541_966_043_385_02, -63.031_065_636_854_1],
                    [68.578_631_693_637_06, -65.514_062_901_545_63],
                ],
            ),
            (
                (["RA---TAN", "DEC--TAN"], [83.82, -5.39], near, fine, &[]),
                [
                    [85.127_269_244_069_03, -6.188_349_418_195_196],
                    [81.702_567_827_664_21, -7.982_833_521_190_893],
                ],
            ),
            (
                (["RA---TAN", "DEC--TAN"], [359.9, 88.0], near, fine, &[("CROTA2", 25.0)]),
                [
                    [34.780_566_625_735_79, 87.348_515_812_222_67],
                    [351.174_643_218_254_9, 84.698_549_902_046_68],
                ],
            ),
            (
                (
                    ["RA---SIN", "DEC--SIN"],
                    [10.0, 41.0],
                    near,
                    fine,
                    &[("PC1_1", 0.8), ("PC1_2", -0.6), ("PC2_1", 0.6), ("PC2_2", 0.8)],
                ),
                [
                    [10.726_572_037_613_224, 39.577_524_374_433_615],
                    [5.760_322_858_569_898, 40.101_282_792_381_2],
                ],
            ),
            (
                (["RA---ARC", "DEC--ARC"], [10.0, 41.0], near, fine, &[("LONPOLE", 170.0)]),
                [
                    [11.864_295_226_764_147, 40.422_806_181_151_27],
                    [7.947_641_606_863_955_5, 38.056_215_565_863_72],
                ],
            ),
            (
                (["RA---ZEA", "DEC--ZEA"], [10.0, 41.0], near, fine, &[]),
                [
                    [11.701_807_557_775_433, 40.187_377_793_646_6],
                    [7.321_730_715_706_924, 38.367_987_723_592_535],
                ],
            ),
            (
                (
                    ["RA---STG", "DEC--STG"],
                    [10.0, 41.0],
                    near,
                    [0.0, 0.0],
                    &[("CD1_1", -0.2), ("CD1_2", 0.01), ("CD2_1", 0.02), ("CD2_2", 0.19)],
                ),
                [
                    [11.647_113_947_344_488, 40.098_243_506_304_75],
                    [7.143_424_502_171_046, 38.704_669_700_510_88],
                ],
            ),
            (
                (["DEC--TAN", "RA---TAN"], [41.0, 10.0], near, [0.2, -0.2], &[]),
                [
                    [11.039_393_641_923_645, 39.695_589_393_602_965],
                    [13.553_843_768_414_02, 43.044_042_007_714_82],
                ],
            ),
            (
                (["DEC--TAN", "RA---TAN"], [41.0, 10.0], near, [0.2, -0.2], &[("CROTA1", 30.0)]),
                [
                    [11.759_321_016_410_963, 40.260_882_158_057_484],
                    [11.670_828_602_337_556, 44.103_402_132_286_79],
                ],
            ),
        ];
        for (case, expected) in &cases {
            let sky = Celestial::of(&grid(case)).unwrap();
            for ((x, y), [longitude, latitude]) in
                [(3.0, 7.0), (20.0, -2.0)].into_iter().zip(expected)
            {
                let (l, b) = sky.at(x, y).unwrap();
                let near = (l - longitude).abs() < 1e-9 && (b - latitude).abs() < 1e-9;
                assert!(near, "{case:?}: {l}, {b} instead of {longitude}, {latitude}");
            }
        }
    }

    #[test]
    fn what_is_not_known_is_told() {
        let step = [-0.1, 0.1];
        let with = |types, more| Celestial::of(&grid(&(types, [0.0; 2], [1.0; 2], step, more)));
        assert!(with(["RA---TAN", "DEC--TAN"], &[("PV2_1", 0.0)]).is_some());
        assert!(with(["RA---SIN", "DEC--SIN"], &[("PV2_1", 0.5)]).is_none());
        assert!(with(["RA---HPX", "DEC--HPX"], &[]).is_none());
        assert!(with(["LINEAR", "DEC--TAN"], &[]).is_none());
        assert!(with(["OFFSET", "OFFSET"], &[]).is_none());
        assert_eq!(Celestial::of(&SkyGrid::default()), None);
        // An orthographic sky ends.
        let sky = with(["RA---SIN", "DEC--SIN"], &[]).unwrap();
        assert!(sky.at(570.0, 0.0).is_some() && sky.at(580.0, 0.0).is_none());
        assert_eq!((sky.longitude.as_str(), sky.latitude.as_str()), ("RA", "DEC"));
    }
}
