package qkv.example;

import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.Message;
import com.google.protobuf.util.Durations;
import com.google.rpc.BadRequest;
import com.google.rpc.BadRequest.FieldViolation;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;
import java.time.Duration;
import java.util.List;
import java.util.Objects;
import java.util.Optional;

/**
 * A call that failed: the status, and the details that qkv puts beside it (AIP-193).
 *
 * @param reason ErrorInfo's, as INVALID_REQUEST; empty if the error came from gRPC itself
 * @param violations one for each wrong field of the request, all of them at once
 * @param retryDelay how long to wait before another try, when the server is overloaded
 */
public record Failure(
        Status.Code code,
        String message,
        Optional<String> reason,
        List<FieldViolation> violations,
        Optional<Duration> retryDelay) {

    public static Failure of(StatusRuntimeException exception) {
        // The details travel as google.rpc.Status in the trailer grpc-status-details-bin; without one, there are none.
        List<Any> details = StatusProto.fromThrowable(exception).getDetailsList();
        Status status = exception.getStatus();
        return new Failure(
                status.getCode(),
                explain(status),
                find(ErrorInfo.class, details).map(ErrorInfo::getReason),
                find(BadRequest.class, details).map(BadRequest::getFieldViolationsList).orElse(List.of()),
                find(RetryInfo.class, details).map(info -> Duration.ofNanos(Durations.toNanos(info.getRetryDelay()))));
    }

    /** For people: the status, a line for each violation, and when to try again. */
    @Override
    public String toString() {
        var text = new StringBuilder(code.name());
        reason.ifPresent(name -> text.append(" (").append(name).append(')'));
        if (violations.isEmpty()) {
            text.append(": ").append(message); // which otherwise is the violations in one line
        }
        violations.forEach(wrong -> text.append("\n  " + wrong.getField() + ": " + wrong.getDescription()));
        retryDelay.ifPresent(delay -> text.append("\n  try again in " + delay.toMillis() / 1e3 + " s"));
        return text.toString();
    }

    /** What gRPC says, and the first cause: of a connection that failed, it alone says why. */
    private static String explain(Status status) {
        String description = Objects.requireNonNullElse(status.getDescription(), "");
        Throwable cause = status.getCause();
        while (cause != null && cause.getCause() != null) {
            cause = cause.getCause();
        }
        return cause == null ? description : description + ": " + cause.getMessage();
    }

    private static <M extends Message> Optional<M> find(Class<M> type, List<Any> details) {
        for (Any detail : details) {
            if (detail.is(type)) {
                try {
                    return Optional.of(detail.unpack(type));
                } catch (InvalidProtocolBufferException broken) {
                    return Optional.empty(); // a detail that cannot be read must not hide the error it explains
                }
            }
        }
        return Optional.empty();
    }
}
