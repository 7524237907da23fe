//! x
pub mod complaint; mod suggestion; mod node; mod yaml; mod place;
/// x
pub struct Pipeline;
