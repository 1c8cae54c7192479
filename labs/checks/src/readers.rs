//! What checks look at beside the Kubernetes API, each way of looking in a file of its own. None
//! of them judges.

pub(crate) mod command;
pub(crate) mod dockerfile;
pub(crate) mod git;
pub(crate) mod http;
pub(crate) mod image_content;
pub(crate) mod images;
pub(crate) mod prometheus;
pub(crate) mod traffic_record;
