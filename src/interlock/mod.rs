//! Is the registry read-only? Nothing is removed before that is shown.
//!
//! # Why
//!
//! A collector looks at the whole tree once and then removes what nothing referred to. A push that lands in between
//! makes that answer wrong: the registry tells a client "this layer is here already", the client leaves it out, and
//! the sweep takes it. The image is broken from its first day and nobody sees it until it is pulled. So a registry
//! that somebody may push to is not swept.
//!
//! # What counts as evidence
//!
//! - *config*: the registry's own config, read as the registry reads it, says `storage.maintenance.readonly.enabled:
//!   true`. It says what the registry will be like when it is started with this config, not what the running one is
//!   like.
//! - *probe*: the running registry is asked ([`probe`]) and refuses a push with the answer that only a registry in
//!   read-only mode gives.
//! - *stopped*: the operator says that no registry is running.
//!
//! One of them is enough, unless something speaks against it ([`evidence`]): a registry that answers as a writable
//! one outweighs what any file or flag says, a pull-through cache writes even in read-only mode, and where a database
//! holds the truth no tree of files does.
//!
//! # What is never done here
//!
//! Nothing on disk is changed, or even looked at. Nothing is pushed: the question is a request that every registry
//! refuses, and that leaves no trace. Credentials are sent only to an address that the operator has named, and never
//! printed. Nothing found out here is remembered for a later run.

pub mod brakes;
pub mod evidence;
pub mod probe;
pub mod served;
