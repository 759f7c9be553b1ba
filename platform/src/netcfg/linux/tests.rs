//! Tests in network namespaces.
