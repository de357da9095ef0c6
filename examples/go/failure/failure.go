// Package failure reads what a failed call says beside its message: the details of https://google.aip.dev/193.
package failure

import (
	"fmt"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/status"
)

// Failure is a failed call.
type Failure struct {
	// The name of the gRPC status, as INVALID_ARGUMENT.
	Code    string
	Message string
	// What programs tell failures apart by, as INVALID_REQUEST. Empty: the server did not say, or it was not reached.
	Reason string
	// One for each wrong field.
	Violations []*errdetails.BadRequest_FieldViolation
	// How long to wait before another try. 0: the server did not say.
	RetryDelay time.Duration
}

// Of reads the error of a gRPC call.
func Of(err error) *Failure {
	failed := status.Convert(err)
	failure := &Failure{Code: code.Code(failed.Code()).String(), Message: failed.Message()}
	for _, detail := range failed.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			failure.Reason = detail.GetReason()
		case *errdetails.BadRequest:
			failure.Violations = detail.GetFieldViolations()
		case *errdetails.RetryInfo:
			failure.RetryDelay = detail.GetRetryDelay().AsDuration()
		}
	}
	return failure
}

// Error is the status, and a line for each detail.
func (f *Failure) Error() string {
	var text strings.Builder
	text.WriteString(f.Code)
	if f.Reason != "" {
		fmt.Fprintf(&text, " (%s)", f.Reason)
	}
	fmt.Fprintf(&text, ": %s", f.Message)
	for _, violation := range f.Violations {
		fmt.Fprintf(&text, "\n  %s: %s", violation.GetField(), violation.GetDescription())
	}
	if f.RetryDelay > 0 {
		fmt.Fprintf(&text, "\n  try again after %s", f.RetryDelay)
	}
	return text.String()
}
