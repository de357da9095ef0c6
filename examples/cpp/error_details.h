// What a failed call says of itself: its code by name, and the details of google.rpc (AIP-193).
#pragma once

#include <grpcpp/grpcpp.h>

#include <string>

#include "qkv/third_party/google_rpc.pb.h"

// A detail that the status does not carry is empty.
struct ErrorDetails {
  qkv::third_party::ErrorInfo info;          // the reason, for programs
  qkv::third_party::BadRequest bad_request;  // one violation for each wrong field
  qkv::third_party::RetryInfo retry_info;    // when to try again
};

// The details in the trailer grpc-status-details-bin.
ErrorDetails ReadErrorDetails(const grpc::Status& status);

// As INVALID_ARGUMENT.
std::string CodeName(grpc::StatusCode code);

// On standard error: the code, the reason, a line for each violation, and when to try again.
void PrintError(const grpc::Status& status);
