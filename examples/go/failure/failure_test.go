package failure

import (
	"context"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

// Every detail of a status is read and told.
func TestDetails(t *testing.T) {
	refused, err := status.New(codes.InvalidArgument, "two fields are wrong").WithDetails(
		&errdetails.ErrorInfo{Reason: "INVALID_REQUEST", Domain: "qkv.v1"},
		&errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{
			{Field: "query", Description: "needed"},
			{Field: "scoring.scale", Description: "is NaN"},
		}},
		&errdetails.RetryInfo{RetryDelay: durationpb.New(1500 * time.Millisecond)},
	)
	if err != nil {
		t.Fatal(err)
	}
	want := "INVALID_ARGUMENT (INVALID_REQUEST): two fields are wrong\n" +
		"  query: needed\n" +
		"  scoring.scale: is NaN\n" +
		"  try again after 1.5s"
	if got := Of(refused.Err()).Error(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// An error without details is its status and its message alone.
func TestNoDetails(t *testing.T) {
	err := status.FromContextError(context.DeadlineExceeded).Err()
	if got, want := Of(err).Error(), "DEADLINE_EXCEEDED: context deadline exceeded"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
