package gateway

import (
	"errors"
	"fmt"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"
)

// failure is an error in the form in which clients see it. Service code makes
// one where it finds a fault of its own; everything that comes from below is
// made into one by [classify].
type failure struct {
	code    codes.Code
	reason  reason
	message string
	// metadata goes into the ErrorInfo, for programs.
	metadata map[string]string
	// details stand beside the ErrorInfo, such as BadRequest and RetryInfo.
	details []protoadapt.MessageV1
	// cause is for the log only; it may say more than a client should read.
	cause error
}

// refuse makes a failure. The message is for people and says what to do.
func refuse(code codes.Code, why reason, format string, args ...any) *failure {
	return &failure{code: code, reason: why, message: fmt.Sprintf(format, args...)}
}

// refuseField is the failure of one field of the request.
func refuseField(field string, why reason, format string, args ...any) *failure {
	f := refuse(codes.InvalidArgument, why, format, args...)
	return f.detail(&errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{{
		Field: field, Description: f.message, Reason: string(why),
	}}})
}

// because records what the failure comes from.
func (f *failure) because(err error) *failure {
	f.cause = err
	return f
}

// with adds a key to the metadata.
func (f *failure) with(key, value string) *failure {
	if f.metadata == nil {
		f.metadata = make(map[string]string)
	}
	f.metadata[key] = value
	return f
}

// detail adds a detail beside the ErrorInfo.
func (f *failure) detail(d protoadapt.MessageV1) *failure {
	f.details = append(f.details, d)
	return f
}

// retryAfter says when it is worth to try again.
func (f *failure) retryAfter(d time.Duration) *failure {
	return f.detail(&errdetails.RetryInfo{RetryDelay: durationpb.New(d)})
}

// Error implements error.
func (f *failure) Error() string {
	if f.cause != nil {
		return fmt.Sprintf("%s: %s: %v", f.reason, f.message, f.cause)
	}
	return fmt.Sprintf("%s: %s", f.reason, f.message)
}

// Unwrap gives the cause, or nil.
func (f *failure) Unwrap() error { return f.cause }

// GRPCStatus is how the grpc package asks for the status of an error. The
// ErrorInfo comes first.
func (f *failure) GRPCStatus() *status.Status {
	s := status.New(f.code, f.message)
	details := append([]protoadapt.MessageV1{&errdetails.ErrorInfo{
		Reason: string(f.reason), Domain: errorDomain, Metadata: f.metadata,
	}}, f.details...)
	if detailed, err := s.WithDetails(details...); err == nil {
		return detailed
	}
	// The details are messages of this program: they can be encoded. If not,
	// the code and the message are still right.
	return s
}

// reasonOf reads the reason out of a status, empty when it has none of ours.
func reasonOf(s *status.Status) reason {
	for _, d := range s.Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok && info.GetDomain() == errorDomain {
			return reason(info.GetReason())
		}
	}
	return ""
}

// retryDelay reads the RetryInfo out of a status.
func retryDelay(s *status.Status) (time.Duration, bool) {
	for _, d := range s.Details() {
		if info, ok := d.(*errdetails.RetryInfo); ok {
			return info.GetRetryDelay().AsDuration(), true
		}
	}
	return 0, false
}

// defaultReasons are for statuses that the grpc package makes by itself, such
// as that of an unknown method.
var defaultReasons = map[codes.Code]reason{
	codes.Canceled:          reasonCanceled,
	codes.DeadlineExceeded:  reasonDeadlineExceeded,
	codes.InvalidArgument:   reasonArgumentInvalid,
	codes.Unauthenticated:   reasonTokenInvalid,
	codes.PermissionDenied:  reasonScopeMissing,
	codes.ResourceExhausted: reasonBodyTooLarge,
	codes.Unimplemented:     reasonRouteNotFound,
	codes.Unavailable:       reasonUnavailable,
}

// failureOfStatus gives a status that some library made the form that clients
// are promised.
func failureOfStatus(s *status.Status) *failure {
	why, ok := defaultReasons[s.Code()]
	if !ok {
		why = reasonInternal
	}
	return refuse(s.Code(), why, "%s", s.Message())
}

// asFailure finds a failure or a foreign status in err.
func asFailure(err error) (*failure, bool) {
	var f *failure
	if errors.As(err, &f) {
		return f, true
	}
	var carrier interface{ GRPCStatus() *status.Status }
	if errors.As(err, &carrier) {
		return failureOfStatus(carrier.GRPCStatus()), true
	}
	return nil, false
}
