#include "conformance/comparison.h"

#include <cmath>
#include <sstream>

#include "conformance/elements.h"
#include "error_details.h"

namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using nlohmann::json;

// Notes where a value is not the expected one, both written as JSON.
void Compare(const std::string& name, const json& value, const json& expected, Differences& differences) {
  if (value != expected) differences.push_back(name + " is " + value.dump() + ", expected " + expected.dump());
}

bool IsClose(double value, double number, const Expected& expected) {
  if (std::isnan(value) || std::isnan(number)) return std::isnan(value) && std::isnan(number);
  if (std::isinf(value) || std::isinf(number)) return value == number;
  return std::abs(value - number) <= expected.absolute + expected.relative * std::abs(number);
}

// Of equally many elements.
void CompareElements(const std::string& name, const std::vector<double>& values, const std::vector<double>& numbers,
                     const Expected& expected, Differences& differences) {
  std::size_t wrong = 0;
  std::ostringstream first;
  first.precision(17);
  for (std::size_t index = 0; index < numbers.size(); ++index) {
    if (IsClose(values[index], numbers[index], expected)) continue;
    if (wrong++ == 0) first << "element " << index << " is " << values[index] << ", expected " << numbers[index];
  }
  if (wrong == 0) return;
  differences.push_back(name + ": " + std::to_string(wrong) + " of " + std::to_string(numbers.size()) +
                        " elements are out of tolerance; " + first.str());
}

void CompareOperand(const std::string& name, const qkv::v1::Operand& operand, const Expected& expected,
                    const Arrays& arrays, Differences& differences) {
  const qkv::v1::Matrix& matrix = operand.matrix();
  const qkv::v1::Tensor& tensor = operand.tensor();
  std::vector<double> values;
  const std::size_t before = differences.size();
  Compare(name + " as a matrix", operand.has_matrix(), expected.matrix, differences);
  if (operand.has_matrix()) {
    Compare(name + ".shape", {matrix.rows(), matrix.columns()}, expected.shape, differences);
    values.assign(matrix.values().begin(), matrix.values().end());
  } else {
    Compare(name + ".shape", std::vector(tensor.shape().begin(), tensor.shape().end()), expected.shape, differences);
    Compare(name + ".data_type", qkv::v1::DataType_Name(tensor.data_type()), qkv::v1::DataType_Name(expected.data_type),
            differences);
    values = Widen(tensor.data_type(), tensor.data());
  }
  const Array& array = Find(arrays, expected.tensor);
  const std::vector<double> numbers = Widen(array.data_type, array.data);
  Compare("number of elements of " + name, values.size(), numbers.size(), differences);
  if (differences.size() == before) CompareElements(name, values, numbers, expected, differences);
}

}  // namespace

Differences CompareResponse(const Case& vector, const Arrays& arrays, const Message& response) {
  const google::protobuf::Descriptor* descriptor = response.GetDescriptor();
  const google::protobuf::Reflection* reflection = response.GetReflection();
  Differences differences;
  for (const auto& [name, expected] : vector.expected) {
    const FieldDescriptor* field = descriptor->FindFieldByName(name);
    if (field == nullptr || field->message_type() != qkv::v1::Operand::descriptor()) {
      differences.push_back(name + ": the response has no such operand");
    } else if (!reflection->HasField(response, field)) {
      differences.push_back(name + " is not set");
    } else {
      const Message& operand = reflection->GetMessage(response, field);
      CompareOperand(name, static_cast<const qkv::v1::Operand&>(operand), expected, arrays, differences);
    }
  }
  for (int index = 0; index < descriptor->field_count(); ++index) {
    const FieldDescriptor* field = descriptor->field(index);
    if (field->message_type() != qkv::v1::Operand::descriptor() || vector.expected.count(field->name()) > 0) continue;
    if (reflection->HasField(response, field)) differences.push_back(field->name() + " is set and was not expected");
  }
  return differences;
}

Differences CompareError(const ExpectedError& expected, const grpc::Status& status) {
  const ErrorDetails details = ReadErrorDetails(status);
  std::set<std::string> fields;
  for (const auto& violation : details.bad_request.field_violations()) fields.insert(violation.field());
  Differences differences;
  Compare("the code", CodeName(status.error_code()), expected.code, differences);
  Compare("the reason", details.info.reason(), expected.reason, differences);
  Compare("the list of wrong fields", fields, expected.fields, differences);
  return differences;
}
