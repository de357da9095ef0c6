#include "error_details.h"

#include <google/protobuf/util/time_util.h>

#include <array>
#include <iostream>

namespace {

// Parses `any` into `detail` if it is of that type. With googleapis' own messages this is any.UnpackTo(&detail); the
// wire-compatible copies of this project have another package, which UnpackTo would look for.
void ReadIfSameType(const google::protobuf::Any& any, google::protobuf::Message& detail) {
  if (any.type_url() == "type.googleapis.com/google.rpc." + detail.GetDescriptor()->name()) {
    detail.ParseFromString(any.value());
  }
}

}  // namespace

ErrorDetails ReadErrorDetails(const grpc::Status& status) {
  qkv::third_party::Status content;
  ErrorDetails details;
  if (!content.ParseFromString(status.error_details())) return details;
  for (const google::protobuf::Any& any : content.details()) {
    ReadIfSameType(any, details.info);
    ReadIfSameType(any, details.bad_request);
    ReadIfSameType(any, details.retry_info);
  }
  return details;
}

std::string CodeName(grpc::StatusCode code) {
  static const std::array<const char*, 17> kNames = {
      "OK",        "CANCELLED",      "UNKNOWN",           "INVALID_ARGUMENT",   "DEADLINE_EXCEEDED",
      "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
      "ABORTED",   "OUT_OF_RANGE",   "UNIMPLEMENTED",     "INTERNAL",           "UNAVAILABLE",
      "DATA_LOSS", "UNAUTHENTICATED"};
  const auto number = static_cast<std::size_t>(code);
  return number < kNames.size() ? kNames[number] : std::to_string(code);
}

void PrintError(const grpc::Status& status) {
  const ErrorDetails details = ReadErrorDetails(status);
  std::cerr << CodeName(status.error_code());
  if (!details.info.reason().empty()) std::cerr << " (" << details.info.reason() << ')';
  // The message says in one line what the violations say field by field.
  if (details.bad_request.field_violations().empty()) std::cerr << ": " << status.error_message();
  std::cerr << '\n';
  for (const auto& violation : details.bad_request.field_violations()) {
    std::cerr << "  " << violation.field() << ": " << violation.description() << '\n';
  }
  if (details.retry_info.has_retry_delay()) {
    std::cerr << "  try again after " << google::protobuf::util::TimeUtil::ToString(details.retry_info.retry_delay())
              << '\n';
  }
}
