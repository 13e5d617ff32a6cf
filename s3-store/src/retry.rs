//! What is tried again beside all that the SDK tries again itself.

use std::time::Duration;

use aws_sdk_s3::config::interceptors::InterceptorContext;
use aws_sdk_s3::config::retry::{ClassifyRetry, RetryAction};
use aws_smithy_runtime_api::client::retries::classifiers::RetryClassifierPriority;
use aws_smithy_types::retry::ErrorKind;

/// Longer than that nobody waits for one request.
const LONGEST: Duration = Duration::from_secs(60);

/// Servers that are busy say so with 429 or 503, and may say for how long.
#[derive(Debug)]
pub(crate) struct Busy;

impl ClassifyRetry for Busy {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        let Some(response) = context.response() else { return RetryAction::NoActionIndicated };
        if !matches!(response.status().as_u16(), 429 | 503) {
            return RetryAction::NoActionIndicated;
        }
        let seconds = response.headers().get("retry-after").and_then(|value| value.trim().parse().ok());
        match seconds.map(Duration::from_secs) {
            Some(time) => {
                RetryAction::retryable_error_with_explicit_delay(ErrorKind::ThrottlingError, time.min(LONGEST))
            }
            None => RetryAction::throttling_error(),
        }
    }

    fn name(&self) -> &'static str {
        "busy server"
    }

    fn priority(&self) -> RetryClassifierPriority {
        RetryClassifierPriority::run_after(RetryClassifierPriority::http_status_code_classifier())
    }
}
