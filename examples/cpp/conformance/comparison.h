// Whether what came back is what a test vector expects. Each function returns what differs, nothing if all is well.
#pragma once

#include <google/protobuf/message.h>
#include <grpcpp/grpcpp.h>

#include <string>
#include <vector>

#include "conformance/safetensors.h"
#include "conformance/suite.h"

using Differences = std::vector<std::string>;

// The operands of a response: exactly those expected, each with its type, its shape and its numbers.
Differences CompareResponse(const Case& vector, const Arrays& arrays, const google::protobuf::Message& response);

// The code, the reason and the violated fields.
Differences CompareError(const ExpectedError& expected, const grpc::Status& status);
