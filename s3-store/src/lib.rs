//! The S3 store's place: it will implement `backup_core::store::Store` on multipart uploads and ranged reads.
