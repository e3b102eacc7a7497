// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator

// defaultLimits are the requests per second that AWS includes for each quota category, from the
// page "Quotas in Amazon Cognito" of the developer guide.
func defaultLimits() map[string]int {
	return map[string]int{
		clientAuthentication:   150,
		userAccountRecovery:    30,
		userAuthentication:     120,
		userCreation:           50,
		userList:               30,
		userPoolClientRead:     15,
		userPoolClientUpdate:   15,
		userPoolRead:           15,
		userPoolResourceRead:   20,
		userPoolResourceUpdate: 15,
		userPoolUpdate:         15,
		userRead:               120,
		userResourceRead:       50,
		userResourceUpdate:     25,
		userToken:              120,
		userUpdate:             25,
	}
}

const limitClassCategory = "API_CATEGORY"

type limitDefinition struct {
	LimitClass string
	Attributes map[string]string
}

type provisionedLimitInput struct {
	LimitDefinition limitDefinition
}

type provisionedLimitOutput struct {
	Limit provisionedLimit
}

type provisionedLimit struct {
	LimitDefinition       limitDefinition
	FreeLimitValue        int
	ProvisionedLimitValue int
}

// getProvisionedLimit returns the quota that the control API has set, or else AWS's default. The
// codes of its refusals are a guess.
func (r *request) getProvisionedLimit(in provisionedLimitInput) (any, error) {
	if in.LimitDefinition.LimitClass != limitClassCategory {
		return nil, invalidParameter("1 validation error detected: Value '%s' at 'limitDefinition.limitClass' failed to satisfy constraint: "+
			"Member must satisfy enum value set: [%s]", in.LimitDefinition.LimitClass, limitClassCategory)
	}
	category := in.LimitDefinition.Attributes["Category"]
	free, known := defaultLimits()[category]
	if !known {
		return nil, resourceNotFound("The category %q does not exist.", category)
	}
	limit := provisionedLimit{LimitDefinition: in.LimitDefinition, FreeLimitValue: free, ProvisionedLimitValue: free}
	if rate, limited := r.server.quotas.rate(category); limited {
		limit.ProvisionedLimitValue = int(rate)
	}
	return provisionedLimitOutput{limit}, nil
}
