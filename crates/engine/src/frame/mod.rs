//! Frames: metadata, counts, folios, zones, and their allocation. Knows no address space.
